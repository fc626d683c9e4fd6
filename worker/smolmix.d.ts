/**
 * Types of smolmix-web for pages. The functions share one tunnel; `MixTunnel` makes further ones.
 */

/** Of `setupMixTunnel` and `new MixTunnel`. A value that cannot be is refused with the option's name. */
export interface MixTunnelOptions {
  /** Base URL of the Nym directory. Default: mainnet. */
  network?: string | null;
  /** Full Nym address of the exit. Default: random, weighted by performance. */
  preferredIpr?: string | null;
  /** Base58 identity of the entry gateway for the first registration of a `clientId`. Default: random. */
  preferredGateway?: string | null;
  /**
   * Names the store in which keys and the gateway registration persist. Default `smolmix-wasm`. A gateway takes each set
   * of keys once, so further tabs that are open at the same time use `<clientId>.2` and so on.
   */
  clientId?: string | null;
  /** Only gateways that offer WSS. Default true; off only for local networks. */
  forceTls?: boolean | null;
  /** Send packets as they come instead of on the Poisson schedule. Default false. */
  disablePoissonTraffic?: boolean | null;
  /** Send no loop cover packets. Default false. */
  disableCoverTraffic?: boolean | null;
  /** Reply SURBs attached to the opening frame. Default 10. */
  openReplySurbs?: number | null;
  /** Reply SURBs attached to each data frame. Default 2. */
  dataReplySurbs?: number | null;
  /** Resolver asked first, as IP literal and port. Default `8.8.8.8:53`. */
  primaryDns?: string | null;
  /** Resolver asked when the first has no answer. Default `1.1.1.1:53`. */
  fallbackDns?: string | null;
  /** Encrypts what is stored under `clientId`. Default: stored in the clear. */
  storagePassphrase?: string | null;
  /** Limit of the exit's connect handshake, milliseconds. Default 60000. */
  connectTimeoutMs?: number | null;
  /** Limit of one DNS query, milliseconds. Default 30000. */
  dnsTimeoutMs?: number | null;
  /** TCP keep-alive interval, milliseconds; 0 switches it off. Default 10000. */
  tcpKeepaliveMs?: number | null;
  /** Largest receive and send buffer of a TCP connection, bytes. */
  tcpBufferSize?: number | null;
  /** Redirects a fetch follows. Default 5. */
  maxRedirects?: number | null;
  /** Keep a cookie jar for the life of the tunnel. Default false. */
  cookies?: boolean | null;
  /**
   * Resume TLS 1.3 sessions with a server: further connections need no certificates, and the server can tell that
   * they come from one visitor. Never across origins, tunnels or exits. Default false.
   */
  tlsResumption?: boolean | null;
  /** PEM certificates of authorities to trust besides Mozilla's roots. */
  trustAnchors?: string | null;
  /** `log` events and console output by layer. Default false. */
  debug?: boolean | null;

  /** Where the worker's assets lie (the folder of manifest.json). Default: beside smolmix.js. */
  assets?: string | URL;
  /** Hash that manifest.json must have, as in a script element (`sha256-...`); it vouches for all other files. */
  assetsIntegrity?: string | null;
  /** Which cryptographic primitives to use. Default `auto`: `cryptography` where the assets hold it, else `npm`. */
  cryptoProvider?: 'auto' | 'cryptography' | 'npm';
}

/** As the second argument of `fetch`, with limits of time. What is not named here is ignored. */
export interface MixFetchInit {
  method?: string;
  /**
   * Those you give win over the defaults. None is forbidden; only what frames the message (`Content-Length`,
   * `Transfer-Encoding`, `Connection` and their like) is left out.
   */
  headers?: HeadersInit;
  /** A `ReadableStream` of `Uint8Array` chunks is uploaded as it is read. */
  body?: BodyInit | null;
  redirect?: 'follow' | 'error' | 'manual';
  signal?: AbortSignal | null;
  /** Overrides the option of the same name for this request. */
  maxRedirects?: number | null;
  /** Limit of the whole request, its response's body included, milliseconds. Default: only the phases have limits. */
  timeout?: number | null;
  /** Limits of the phases, milliseconds. */
  timeouts?: MixFetchTimeouts | null;
  /** Digests like `sha256-…`: the body must have one of them, or the fetch fails. It is then read as a whole first. */
  integrity?: string;
  /** `omit` leaves the cookie jar out (option `cookies`); the other two are alike. */
  credentials?: RequestCredentials;
}

/** Milliseconds, each greater than zero. The name is the `phase` of the time-out that it causes. */
export interface MixFetchTimeouts {
  /** Finding the address of the host. Default: the option `dnsTimeoutMs`. */
  resolve?: number | null;
  /** The TCP handshake, over all addresses that are tried. Default 30000. */
  connect?: number | null;
  /** The TLS handshake. Default 30000. */
  tls?: number | null;
  /** Waiting for a free connection: there are up to six per origin. Default 120000. */
  queue?: number | null;
  /** From the request having been sent to the response's head. Default 60000. */
  firstByte?: number | null;
  /** Between two pieces of a body, in either direction. Default 60000. */
  idle?: number | null;
}

/**
 * Milliseconds by phase, over all redirects and attempts. Absent: the phase did not happen, as `resolve`, `connect` and
 * `tls` on a connection that was kept.
 */
export interface MixTimings {
  /** Waiting for one of the origin's connections. */
  queue?: number;
  /** Finding the address of the host. */
  resolve?: number;
  /** The TCP handshake. */
  connect?: number;
  /** The TLS handshake. */
  tls?: number;
  /** From sending the request to the response's head. */
  response?: number;
  /** Preparing the next request of a redirect, and reading the old response away. */
  redirect?: number;
}

/** Of `mixResolve`. */
export interface MixResolveOptions {
  /** 4 or 6: addresses of that kind only. Default 0: both, IPv4 first. */
  family?: 0 | 4 | 6;
  /** Every address, with family and time to live. Default false: one address as text. */
  all?: boolean;
  signal?: AbortSignal | null;
  /** Limit of the whole look-up, milliseconds. Default: the option `dnsTimeoutMs`. */
  timeout?: number | null;
}

/** What `mixResolve` gives with `all`. */
export interface MixAddress {
  address: string;
  family: 4 | 6;
  /** Seconds it may be kept; null for an IP address that was not asked for. */
  ttl: number | null;
}

/** Third argument of `new MixWebSocket` and `mixSocket`. */
export interface MixSocketOptions {
  /** Headers of the upgrade request; none is forbidden. */
  headers?: HeadersInit;
  /** Send a Ping after so many milliseconds without a sign of life. Default: none are sent. */
  pingInterval?: number | null;
  /** Of a received message, bytes. Default 67108864. */
  maxMessageSize?: number | null;
  /** Limits of the phases, milliseconds. */
  timeouts?: MixSocketTimeouts | null;
  /** Default: the shared one. */
  tunnel?: MixTunnel;
}

/** Milliseconds, each greater than zero. */
export interface MixSocketTimeouts {
  /** Finding the address of the host. Default: the option `dnsTimeoutMs`. */
  resolve?: number | null;
  /** The TCP handshake, over all addresses that are tried. Default 30000. */
  connect?: number | null;
  /** The TLS handshake. Default 30000. */
  tls?: number | null;
  /** The answer to the upgrade request. Default 60000. */
  firstByte?: number | null;
  /** The server takes nothing of a message that is being sent. Ends the connection. Default 60000. */
  idle?: number | null;
  /** The server's answer to our Close. Default 20000. */
  close?: number | null;
  /** The answer to a Ping. Default 60000. */
  pong?: number | null;
}

/** Of `mixClient.send`. */
export interface MixSendOptions {
  /** Ends the wait for the tunnel, or for room in its queue. What is queued is sent. */
  signal?: AbortSignal | null;
}

/** Of `mixClient.sendAnonymous`. */
export interface MixSendAnonymousOptions extends MixSendOptions {
  /** Packets of answer that the recipient may send without asking for more, 0 to 500. Default 10. */
  replySurbs?: number | null;
}

/** Of `mixClient.reply`. */
export type MixReplyOptions = MixSendOptions;

/** What `getTunnelState` gives; detail of a `statechange` event. */
export interface TunnelState {
  /**
   * `idle` before the first set-up. `reconnecting`: the gateway or the exit was lost and is being replaced.
   * `failed` and `shutdown` are not final: set up again.
   */
  state: 'idle' | 'connecting' | 'ready' | 'reconnecting' | 'shutting_down' | 'shutdown' | 'failed';
  /** A sentence for people. */
  reason: string;
  /** Of the error behind it; empty without one. */
  code?: string;
  /** Where set-up stood, for a state that ends it. */
  stage?: string | null;
}

/** Detail of a `progress` event. */
export interface TunnelProgress {
  /** `boot:…` while the worker starts, then the stages of the tunnel. */
  stage: 'boot:manifest' | 'boot:files' | 'boot:python' | 'boot:packages' | 'boot:bridge' | 'keys' | 'directory' | 'gateway' | 'exit' | 'ready';
  /** 0 to 1, of boot or of the tunnel's set-up. */
  fraction: number;
  /** 0 to 1, of this stage of the tunnel's set-up. */
  stageFraction?: number;
  /** A few words for people, from the tunnel's own stages. */
  detail?: string;
}

/** Detail of a `log` event. */
export interface TunnelLog {
  level: 'debug' | 'info' | 'warning' | 'error' | 'critical';
  /** Which part of the tunnel says so: `tunnel`, `sockets`, `nym`, `gateway`, … */
  layer: string;
  /** One line without secrets. */
  message: string;
}

/** Events of a tunnel by name; each has its particulars in `detail`. */
export interface TunnelEventMap {
  statechange: CustomEvent<TunnelState>;
  progress: CustomEvent<TunnelProgress>;
  /** Once a second while the tunnel is up. */
  stats: CustomEvent<TunnelStats>;
  log: CustomEvent<TunnelLog>;
}

/** An `EventTarget` with the events of a tunnel. */
export interface TunnelEvents extends EventTarget {
  addEventListener<K extends keyof TunnelEventMap>(
    type: K,
    listener: (this: TunnelEvents, event: TunnelEventMap[K]) => any,
    options?: boolean | AddEventListenerOptions,
  ): void;
  addEventListener(
    type: string,
    listener: EventListenerOrEventListenerObject | null,
    options?: boolean | AddEventListenerOptions,
  ): void;
}

/** What `getTunnelInfo` gives. Null: not known yet. */
export interface TunnelInfo {
  /** Version of smolmix-web. */
  version: string;
  /** Cryptographic provider in use, with its version where it has one. */
  provider: string;
  platform: string;
  /** What the assets were built for. */
  features: ('dns' | 'fetch' | 'socket')[];
  state: TunnelState['state'];
  /** A sentence for people. */
  reason: string;
  /** URL of the directory. */
  network: string;
  /** Base58 identity of the entry gateway. */
  gateway: string | null;
  /** Where we are connected to it. */
  gatewayUrl: string | null;
  /** Our own Nym address. */
  address: string | null;
  /** The exit's Nym address. */
  exit: string | null;
  /** Base58 identities of the mix nodes that routes are made of, by layer: a packet takes one of each at random. */
  mixLayers: string[][];
  /** Base58 identity of the gateway that the exit lives in. */
  exitGateway: string | null;
  /** Protocol spoken with the exit. */
  iprVersion: number | null;
  /** Our address behind the exit. */
  ipv4: string | null;
  /** Our other address behind the exit. */
  ipv6: string | null;
  /** Largest IP packet that the exit takes, bytes. */
  mtu: number | null;
}

/**
 * Counters by layer since the start, also as `stats` events once a second: `nym` (packets by kind, `queued`,
 * `ackRoundTrip` in seconds, `surbsStock`, …), `gateway`, `driver`, `ipr`, `stack`, `tls`, `fetch`, `websocket`,
 * `messages`, `directory`, `tunnel`, `bridge`, `worker`.
 */
export type TunnelStats = Record<string, Record<string, any>> & { rates?: TunnelRates };

/** Packets per second, over the last few seconds. */
export interface TunnelRates {
  /** Sent with data of ours, retransmissions included. */
  real: number;
  /** Of them, those sent again. */
  retransmissions: number;
  /** Cover packets sent. */
  cover: number;
  /** Cover packets that came back. */
  coverReceived: number;
  /** Received with data for us. */
  received: number;
  /** Acknowledgements received, those of cover packets included. */
  acks: number;
}

/** What went wrong; the `cause` of the `TypeError`s and time-outs of `mixFetch`. */
export declare class MixError extends Error {
  constructor(failure: { code: string; message: string; retriable?: boolean; phase?: string | null; field?: string | null });
  /** Stable, fit for a `switch`: `BAD_OPTION`, `TUNNEL_NOT_READY`, `TIMEOUT`, `REFUSED`, … */
  code: string;
  /** Whether the same call may work when made again. */
  retriable: boolean;
  /**
   * What was going on. Of code `TIMEOUT` the limit that ran out: `resolve`, `connect`, `tls`, `queue`, `firstByte`,
   * `idle`, `total` (option `timeout`) or `exit` (no other exit for a lost one); else also `upload` (your own stream
   * broke), `response`, `redirect` or `body`.
   */
  phase: string | null;
  /** The option that is not acceptable, of code `BAD_OPTION`. */
  field: string | null;
}

/** A tunnel beside the shared one, with the same functions as methods. */
export declare class MixTunnel {
  /** Nothing is started yet. Throws `TypeError` for options that cannot be. */
  constructor(options?: MixTunnelOptions);
  /** Its states, the progress of its set-up, counters and logs. */
  readonly events: TunnelEvents;
  /** Raw messages over this tunnel's gateway. */
  readonly client: MixClient;
  /** Starts the worker and connects. Calls while it is up or under way share one set-up. */
  setup(): Promise<void>;
  /** Closes the tunnel and ends the worker, at whatever point it is; it can be set up again. */
  disconnect(): Promise<void>;
  /** Never rejects. */
  getState(): Promise<TunnelState>;
  /** Gateway, exit, addresses, versions. Rejects with `MixError` while the tunnel is not up. */
  getInfo(): Promise<TunnelInfo>;
  /** Counters. Rejects with `MixError` while the tunnel is not up. */
  getStats(): Promise<TunnelStats>;
  /** See the function of this name. */
  mixFetch(input: RequestInfo | URL, init?: MixFetchInit): Promise<Response>;
  /** See the function of this name. */
  mixResolve(host: string, options: MixResolveOptions & { all: true }): Promise<MixAddress[]>;
  mixResolve(host: string, options?: MixResolveOptions & { all?: false }): Promise<string>;
  /** A WebSocket through this tunnel. */
  mixSocket(url: string | URL, protocols?: string | string[], options?: MixSocketOptions): MixWebSocket;
}

/** Makes the shared tunnel ready. Concurrent calls share one set-up; other options on a running tunnel reject. */
export declare function setupMixTunnel(options?: MixTunnelOptions): Promise<void>;
/** Closes the shared tunnel; it can be set up again. */
export declare function disconnectMixTunnel(): Promise<void>;
/** Never rejects; `idle` before the first set-up. */
export declare function getTunnelState(): Promise<TunnelState>;
/** Gateway, exit, addresses, versions. Rejects with `MixError` while the tunnel is not up. */
export declare function getTunnelInfo(): Promise<TunnelInfo>;
/** Counters of every layer. Rejects with `MixError` while the tunnel is not up. */
export declare function getTunnelStats(): Promise<TunnelStats>;
/** Events of the shared tunnel, across all its lives. */
export declare const tunnelEvents: TunnelEvents;

/**
 * `fetch` through the mixnet; never falls back to the clear net. Rejects with `TypeError` (`cause` is a
 * `MixError`), or a `DOMException` named `AbortError` or `TimeoutError`.
 */
export declare function mixFetch(input: RequestInfo | URL, init?: MixFetchInit): Promise<Response>;
/** Where the time of `mixFetch` went until it gave this response; null for any other response, clones too. */
export declare function responseTimings(response: Response): MixTimings | null;
/** The address of a name, asked through the mixnet; with `all` every address. Rejects with `MixError`. */
export declare function mixResolve(host: string, options: MixResolveOptions & { all: true }): Promise<MixAddress[]>;
export declare function mixResolve(host: string, options?: MixResolveOptions & { all?: false }): Promise<string>;
/** The name that the other mixnet packages have for `mixResolve`. */
export declare const mixDNS: typeof mixResolve;
/** The same as `new MixWebSocket(url, protocols, options)`. */
export declare function mixSocket(
  url: string | URL,
  protocols?: string | string[],
  options?: MixSocketOptions,
): MixWebSocket;

/** Events of a `MixWebSocket` by name. */
export interface MixWebSocketEventMap {
  open: Event;
  /** `data` is a string or an ArrayBuffer. */
  message: MessageEvent<string | ArrayBuffer>;
  /** Always followed by `close`. */
  error: Event;
  close: CloseEvent;
}

/**
 * The browser's WebSocket through the mixnet, except that `send` and `close` return promises, `opened()` tells when
 * it is usable, binary messages are always ArrayBuffers, and there is no `bufferedAmount`.
 */
export declare class MixWebSocket extends EventTarget {
  static readonly CONNECTING: 0;
  static readonly OPEN: 1;
  static readonly CLOSING: 2;
  static readonly CLOSED: 3;
  readonly CONNECTING: 0;
  readonly OPEN: 1;
  readonly CLOSING: 2;
  readonly CLOSED: 3;
  constructor(url: string | URL, protocols?: string | string[], options?: MixSocketOptions);
  readonly url: string;
  readonly readyState: 0 | 1 | 2 | 3;
  /** The subprotocol that the server chose. */
  readonly protocol: string;
  readonly extensions: string;
  binaryType: 'arraybuffer';
  onopen: ((this: MixWebSocket, event: Event) => any) | null;
  onmessage: ((this: MixWebSocket, event: MessageEvent<string | ArrayBuffer>) => any) | null;
  onerror: ((this: MixWebSocket, event: Event) => any) | null;
  onclose: ((this: MixWebSocket, event: CloseEvent) => any) | null;
  /** Resolves when the socket is open; rejects when it cannot be opened. */
  opened(): Promise<void>;
  /** Resolves when the message has left the queue for the connection. */
  send(data: string | ArrayBuffer | ArrayBufferView | Blob): Promise<void>;
  /** Resolves when the connection is closed. The code is 1000 or from 3000 to 4999; without one, none is sent. */
  close(code?: number, reason?: string): Promise<void>;
  addEventListener<K extends keyof MixWebSocketEventMap>(
    type: K,
    listener: (this: MixWebSocket, event: MixWebSocketEventMap[K]) => any,
    options?: boolean | AddEventListenerOptions,
  ): void;
  addEventListener(type: string, listener: EventListenerOrEventListenerObject, options?: boolean | AddEventListenerOptions): void;
}

/** A message arrived. `data` is an ArrayBuffer. */
export declare class MixMessageEvent extends MessageEvent<ArrayBuffer> {
  /** Base58 tag to `reply` to; null for plain messages and for replies. */
  readonly senderTag: string | null;
  /** Of a reply: the address that we had written to. Everybody else stays unknown. */
  readonly sender: string | null;
}

/** Events of a `MixClient` by name. */
export interface MixClientEventMap {
  message: MixMessageEvent;
}

/**
 * Raw messages between Nym addresses; no exit takes part. All calls need a tunnel that is set up and reject with
 * `MixError` (codes `BAD_OPTION` with `field` `recipient`, `senderTag`, `data` or `replySurbs`; `UNREACHABLE`:
 * the recipient's gateway is not in the network, or there are no reply SURBs of the sender; `TUNNEL_NOT_READY`),
 * with `TypeError` for arguments of a wrong type, or with the signal's reason. A string is sent as UTF-8.
 *
 * Up to 1,024 messages (16 MiB) wait for the first listener for `message`. A message arrives once and whole, or not
 * at all; order is not kept.
 */
export declare class MixClient extends EventTarget {
  private constructor();
  /** Our Nym address; it changes with the gateway. */
  selfAddress(): Promise<string>;
  /** Sends a plain message of at most 16 MiB. Resolves when it is queued; nothing tells of its arrival. */
  send(recipient: string, data: string | ArrayBuffer | ArrayBufferView | Blob, options?: MixSendOptions): Promise<void>;
  /** Sends a message that can be answered without telling by whom it is. */
  sendAnonymous(
    recipient: string,
    data: string | ArrayBuffer | ArrayBufferView | Blob,
    options?: MixSendAnonymousOptions,
  ): Promise<void>;
  /** Answers whoever sent the message with `senderTag`. An answer is not empty. */
  reply(senderTag: string, data: string | ArrayBuffer | ArrayBufferView | Blob, options?: MixReplyOptions): Promise<void>;
  onmessage: ((this: MixClient, event: MixMessageEvent) => any) | null;
  addEventListener<K extends keyof MixClientEventMap>(
    type: K,
    listener: (this: MixClient, event: MixClientEventMap[K]) => any,
    options?: boolean | AddEventListenerOptions,
  ): void;
  addEventListener(
    type: string,
    listener: EventListenerOrEventListenerObject | null,
    options?: boolean | AddEventListenerOptions,
  ): void;
}

/** Raw messages over the shared tunnel's gateway, across all its lives. */
export declare const mixClient: MixClient;

/** A message in the encoding of Nym's TypeScript SDK. The meaning of `headers` is up to the two sides. */
export interface MixPayload {
  /** What the content is, such as `text/plain`. */
  mimeType: string;
  /** Null: there are none. */
  headers: string | null;
  /** The content. */
  payload: ArrayBuffer;
}

/** For `send` to a program made with that SDK: the MIME type and the headers in front of the payload. */
export declare function encodePayload(
  mimeType: string,
  payload: string | ArrayBuffer | ArrayBufferView,
  headers?: string | null,
): ArrayBuffer;
/** @throws {TypeError} the message is not in that encoding */
export declare function decodePayload(message: ArrayBuffer | ArrayBufferView): MixPayload;
