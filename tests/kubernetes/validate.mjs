// Holds Kubernetes' objects, a JSON array on standard input, against the JSON schemas of its API (those of 1.27); prints an array of what
// each one's is, null where nothing is wrong. The schemas let members pass that they do not know.
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";

const require = createRequire(import.meta.url);

function fault(object) {
  const { apiVersion, kind } = object;
  try {
    const { [kind]: Model } = require(`kubernetes-models/${apiVersion}`);
    if (!Model) return `${apiVersion} has no ${kind}`;
    new Model(object).validate();
    return null;
  } catch (error) {
    return error.code === "MODULE_NOT_FOUND" ? `there is no ${apiVersion}` : error.message;
  }
}

process.stdout.write(JSON.stringify(JSON.parse(readFileSync(0, "utf8")).map(fault)));
