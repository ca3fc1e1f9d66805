"""The figures as a table: medians of the rounds, with the least and the most."""
import json, statistics
def failures(result): return []
def text(result):
    out=[]
    for name in result["rounds"][0]["phases"]:
        rs=[r["phases"][name] for r in result["rounds"]]
        med=lambda f: statistics.median(map(f,rs))
        out.append(f"{name}: {med(lambda r:r['throughput']):.0f}/s p50 {med(lambda r:r['latency']['p50']):.0f} p95 {med(lambda r:r['latency']['p95']):.0f} p99 {med(lambda r:r['latency']['p99']):.0f} us; delivery p50 {[r['delivery']['p50'] for r in rs]}; others {[round(r['othersShare'],2) for r in rs]} audit behind {[round(r['auditBehindSeconds'],2) for r in rs]} refused {[r['refused'] for r in rs]} missing {rs[-1]['missing']} syncs {rs[-1]['stateSyncs']} delivered {[r['accepted']-r['delivered'] for r in rs]}")
        out.append("   cpu/req us: "+", ".join(f"{k} {statistics.median(r['cpuPerRequest'][k] for r in rs):.0f}" for k in rs[0]['cpuPerRequest']))
        out.append("   cpu share: "+", ".join(f"{k} {statistics.median(r['cpuShare'][k] for r in rs):.2f}" for k in rs[0]['cpuShare']))
    for name in result["rounds"][0]["reference"]:
        rs=[r["reference"][name] for r in result["rounds"]]
        out.append(f"ref {name}: {[round(r['throughput']) for r in rs]} p50 {[round(r['latency']['p50']) for r in rs]}")
    out.append(json.dumps(result["resident"])); out.append(json.dumps(result["account"]))
    return "\n".join(out)
