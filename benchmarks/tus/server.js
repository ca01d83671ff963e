// The tus server with its file store, two processes on one port, as its documentation has it and nothing else.
// Usage: node server.js FOLDER. Prints `ready PORT` once both listen.

import cluster from "node:cluster";
import http from "node:http";
import { FileStore } from "@tus/file-store";
import { Server } from "@tus/server";

const PROCESSES = 2;
const folder = process.argv[2];

if (cluster.isPrimary) {
  let listening = 0;
  cluster.on("listening", (_worker, address) => {
    listening += 1;
    if (listening === PROCESSES) console.log(`ready ${address.port}`);
  });
  cluster.on("exit", () => process.exit(1));
  for (let n = 0; n < PROCESSES; n += 1) cluster.fork();
} else {
  const tus = new Server({ path: "/files", datastore: new FileStore({ directory: folder }) });
  const server = http.createServer((request, response) => tus.handle(request, response));
  server.keepAliveTimeout = 60_000;
  server.listen(0, "127.0.0.1"); // both get the same port
  process.on("disconnect", () => process.exit(0));
}
