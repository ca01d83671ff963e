/**
 * A small call: one RTCPeerConnection to each other window. Free of glare: of two, the one with the greater id offers.
 * What is recorded does not pass here; this is only how people see each other.
 */

import { Emitter } from "/client/emitter.js";

/** @typedef {import("./signal.js").Signal} Signal */
/** @typedef {import("./signal.js").Who} Who */
/** @typedef {{ kind: string, instance: string, name: string, [key: string]: any }} Said */
/**
 * @typedef {object} MeshEvents
 * @property {{ id: string, name: string, role: string }} joined
 * @property {{ id: string }} left
 * @property {{ id: string, stream: MediaStream }} stream
 * @property {{ id: string, data: Said }} said what is none of the mesh's business
 */

/** Connections recover from short breaks by themselves; after this long the person is gone. */
const GONE_MS = 20_000;

class Peer {
  /** @type {RTCIceCandidateInit[]} */ early = [];
  /** Descriptions and candidates are worked on one after the other. */
  work = Promise.resolve();
  /** @type {ReturnType<typeof setTimeout> | undefined} */ gone;

  /** @param {string} instance @param {string} connection @param {RTCPeerConnection} pc */
  constructor(instance, connection, pc) {
    this.instance = instance;
    this.connection = connection;
    this.pc = pc;
    this.stream = new MediaStream();
  }
}

/** @extends {Emitter<MeshEvents>} */
export class Mesh extends Emitter {
  #signal;
  #stream;
  #config;
  #about;
  #me = "";
  #instance = crypto.randomUUID();
  /** @type {Map<string, Peer>} */ #peers = new Map();

  /** @param {{ signal: Signal, stream: MediaStream, ice: string[], about: () => { name: string } & Record<string, unknown> }} options `about`: what others are told of us when we meet */
  constructor({ signal, stream, ice, about }) {
    super();
    this.#signal = signal;
    this.#stream = stream;
    this.#config = { iceServers: ice.map((urls) => ({ urls })) };
    this.#about = about;
    signal.on("welcome", (me) => {
      this.#me = me.id;
      this.#say("hello", {});
    });
    signal.on("left", (who) => {
      if (this.#peers.get(who.id)?.connection === who.connection) this.#drop(who.id);
    });
    signal.on("message", ({ from, data }) => this.#take(from, data));
  }

  /** To everybody. @param {string} kind @param {Record<string, unknown>} data */
  tell(kind, data) {
    this.#say(kind, data);
  }

  close() {
    for (const id of [...this.#peers.keys()]) this.#drop(id);
  }

  /** @param {string} kind @param {Record<string, unknown>} data @param {string} [to] */
  #say(kind, data, to) {
    this.#signal.say({ ...this.#about(), ...data, kind, instance: this.#instance }, to);
  }

  /** @param {Who} from @param {Said} data */
  #take(from, data) {
    if (!this.#me || from.id === this.#me) return;
    const peer = this.#meet(from, data);
    if (data.kind === "hello") this.#say("here", {}, from.id);
    if (data.kind === "description") this.#queue(peer, () => this.#describe(from.id, peer, data.description));
    else if (data.kind === "candidate") this.#queue(peer, () => this.#candidate(peer, data.candidate));
    else this.emit("said", { id: from.id, data });
  }

  /** @param {Who} from @param {Said} data @returns {Peer} */
  #meet(from, data) {
    const known = this.#peers.get(from.id);
    if (known?.instance === data.instance) {
      known.connection = from.connection;
      return known;
    }
    if (known) this.#drop(from.id); // the window was loaded anew
    const pc = new RTCPeerConnection(this.#config);
    const peer = new Peer(data.instance, from.connection, pc);
    this.#peers.set(from.id, peer);
    this.emit("joined", { id: from.id, name: data.name, role: from.role });
    pc.ontrack = ({ track }) => {
      peer.stream.addTrack(track);
      this.emit("stream", { id: from.id, stream: peer.stream });
    };
    pc.onicecandidate = ({ candidate }) => candidate && this.#say("candidate", { candidate: candidate.toJSON() }, from.id);
    const offers = this.#me > from.id;
    pc.onconnectionstatechange = () => {
      clearTimeout(peer.gone);
      if (pc.connectionState === "failed" && offers) pc.restartIce();
      if (["failed", "disconnected"].includes(pc.connectionState)) peer.gone = setTimeout(() => this.#drop(from.id), GONE_MS);
    };
    if (offers) {
      pc.onnegotiationneeded = () => this.#queue(peer, () => this.#offer(from.id, peer));
      for (const kind of /** @type {const} */ (["audio", "video"])) {
        const track = this.#stream.getTracks().find((t) => t.kind === kind);
        pc.addTransceiver(track ?? kind, { direction: track ? "sendrecv" : "recvonly", streams: [this.#stream] });
      }
    }
    return peer;
  }

  /** @param {string} id @param {Peer} peer */
  async #offer(id, peer) {
    await peer.pc.setLocalDescription();
    this.#say("description", { description: peer.pc.localDescription?.toJSON() }, id);
  }

  /** @param {string} id @param {Peer} peer @param {RTCSessionDescriptionInit} description */
  async #describe(id, peer, description) {
    const { pc } = peer;
    if (description.type === "offer" && pc.getSenders().length === 0) {
      for (const track of this.#stream.getTracks()) pc.addTrack(track, this.#stream);
    }
    await pc.setRemoteDescription(description);
    for (const candidate of peer.early.splice(0)) await pc.addIceCandidate(candidate);
    if (description.type !== "offer") return;
    await pc.setLocalDescription();
    this.#say("description", { description: pc.localDescription?.toJSON() }, id);
  }

  /** @param {Peer} peer @param {RTCIceCandidateInit} candidate */
  async #candidate(peer, candidate) {
    if (peer.pc.remoteDescription) await peer.pc.addIceCandidate(candidate);
    else peer.early.push(candidate);
  }

  /** @param {Peer} peer @param {() => Promise<void>} work */
  #queue(peer, work) {
    peer.work = peer.work.then(work).catch((error) => {
      if (peer.pc.signalingState !== "closed") console.warn("callreel: call connection:", error);
    });
  }

  /** @param {string} id */
  #drop(id) {
    const peer = this.#peers.get(id);
    if (!peer) return;
    clearTimeout(peer.gone);
    peer.pc.close();
    this.#peers.delete(id);
    this.emit("left", { id });
  }
}
