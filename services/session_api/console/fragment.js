/*
 * What a link brings behind its #: a token or a code. It is taken out of the address bar before anything else is loaded, so that neither
 * a glance, nor a bookmark, nor the history has it. Not a module: those run when all of them have come.
 */
(() => {
  const PLACES = { token: "handoff.console.token", code: "handoff.console.code" };

  function take() {
    const given = /^#(token|code)=(.*)$/s.exec(location.hash);
    if (given) {
      sessionStorage.setItem(PLACES[given[1]], given[2].slice(0, 8192));
      history.replaceState(null, "", location.pathname);
    }
  }

  take();
  addEventListener("hashchange", take);
})();
