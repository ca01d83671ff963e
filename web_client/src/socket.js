/**
 * A WebSocket read like a stream: its frames as they come, until it closes, falls silent, or `signal` ends it.
 */

/**
 * @param {WebSocket} socket just made
 * @param {string} hello its first frame
 * @param {{ signal: AbortSignal, firstMs: number, silentMs: number }} patience with the first frame, and between frames
 * @returns {AsyncGenerator<string>}
 */
export async function* frames(socket, hello, { signal, firstMs, silentMs }) {
  /** @type {string[]} */ const came = [];
  let over = signal.aborted;
  let wake = () => {};
  const end = () => {
    over = true;
    wake();
  };
  let silence = setTimeout(end, firstMs);
  signal.addEventListener("abort", end, { once: true });
  socket.onopen = () => socket.send(hello);
  socket.onclose = end;
  socket.onmessage = ({ data }) => {
    clearTimeout(silence);
    silence = setTimeout(end, silentMs);
    came.push(String(data));
    wake();
  };
  try {
    while (true) {
      for (let text = came.shift(); text !== undefined; text = came.shift()) yield text;
      if (over) return;
      await new Promise((resolve) => (wake = () => resolve(undefined)));
    }
  } finally {
    clearTimeout(silence);
    signal.removeEventListener("abort", end);
    socket.close();
  }
}
