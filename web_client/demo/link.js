/**
 * What the link carries: everything behind `#`, so that no server and no log ever sees a token.
 * `#call=…&token=…`, optional `endpoint=https://…` where page and server live apart, `ice=stun:host:port` for calls
 * beyond one network.
 */

/** @typedef {{ call: string, token: string, endpoint: string, ice: string[] }} Link */
/** @typedef {{ sub?: string, participant?: string, call?: string, role?: string, name?: string, exp?: number }} Claims */

/** @param {string} hash @returns {Link} */
export function readLink(hash) {
  const parts = new URLSearchParams(hash.replace(/^#/, ""));
  return {
    call: parts.get("call") ?? "",
    token: parts.get("token") ?? "",
    endpoint: (parts.get("endpoint") ?? location.origin).replace(/\/+$/, ""),
    ice: parts.getAll("ice"),
  };
}

/** The same page for somebody else. @param {Link} link @param {string} token */
export function writeLink(link, token) {
  const parts = new URLSearchParams({ call: link.call, token });
  if (link.endpoint !== location.origin) parts.set("endpoint", link.endpoint);
  for (const server of link.ice) parts.append("ice", server);
  return `${location.origin}${location.pathname}#${parts}`;
}

/** What a token says of itself; only the server knows whether it is true. @param {string} token @returns {Claims} */
export function claimsOf(token) {
  try {
    const payload = atob((token.split(".")[1] ?? "").replace(/-/g, "+").replace(/_/g, "/"));
    return JSON.parse(new TextDecoder().decode(Uint8Array.from(payload, (c) => c.charCodeAt(0))));
  } catch {
    return {};
  }
}
