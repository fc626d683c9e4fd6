/**
 * Types of smolmix-web for pages. The functions share one tunnel; `MixTunnel` makes further ones.
 */

export interface MixTunnelOptions {
  /** Base URL of the Nym directory. Default: mainnet. */
  network?: string | null;
  /** Full Nym address of the exit. Default: random, weighted by performance. */
  preferredIpr?: string | null;
  /** Base58 identity of the entry gateway for the first registration of a `clientId`. Default: random. */
  preferredGateway?: string | null;
  /** Names the store in which keys and the gateway registration persist. Default `smolmix-wasm`. */
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
  /** PEM certificates of authorities to trust besides Mozilla's roots. */
  trustAnchors?: string | null;
  /** `log` events and console output by layer. Default false. */
  debug?: boolean | null;

  /** Where the worker's assets lie (the folder of manifest.json). Default: beside smolmix.js. */
  assets?: string | URL;
  /** Which cryptographic primitives to use. Default `auto`: `cryptography` where the assets hold it, else `npm`. */
  cryptoProvider?: 'auto' | 'cryptography' | 'npm';
}

export interface MixFetchInit {
  method?: string;
  /** No header is forbidden; those you give win over the defaults. */
  headers?: HeadersInit;
  /** A `ReadableStream` of `Uint8Array` chunks is uploaded as it is read. */
  body?: BodyInit | null;
  redirect?: 'follow' | 'error' | 'manual';
  signal?: AbortSignal | null;
  /** Overrides the option of the same name for this request. */
  maxRedirects?: number | null;
  /** Limit of the whole request until its response's head, milliseconds. */
  timeout?: number | null;
}

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
  stage: 'boot:manifest' | 'boot:python' | 'boot:packages' | 'boot:bridge' | 'keys' | 'directory' | 'gateway' | 'exit' | 'ready';
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
  layer: string;
  message: string;
}

export interface TunnelInfo {
  /** Version of smolmix-web. */
  version: string;
  /** Cryptographic provider in use, with its version where it has one. */
  provider: string;
  platform: string;
  state: TunnelState['state'];
  reason: string;
  /** URL of the directory. */
  network: string;
  /** Base58 identity and URL of the entry gateway. */
  gateway: string | null;
  gatewayUrl: string | null;
  /** Our own Nym address, and the exit's. */
  address: string | null;
  exit: string | null;
  /** Protocol spoken with the exit, and what it gave us. */
  iprVersion: number | null;
  ipv4: string | null;
  ipv6: string | null;
  mtu: number | null;
}

/** Counters by layer (`driver`, `gateway`, `nym`, `ipr`, `stack`, `fetch`, `bridge`). */
export type TunnelStats = Record<string, Record<string, any>>;

/** What went wrong; the `cause` of the `TypeError`s and time-outs of `mixFetch`. */
export declare class MixError extends Error {
  constructor(failure: { code: string; message: string; retriable?: boolean; phase?: string | null; field?: string | null });
  /** Stable, fit for a `switch`: `BAD_OPTION`, `TUNNEL_NOT_READY`, `TIMEOUT`, `REFUSED`, … */
  code: string;
  /** Whether the same call may work when made again. */
  retriable: boolean;
  /** The wait that ran out, of code `TIMEOUT`. */
  phase: string | null;
  /** The option that is not acceptable, of code `BAD_OPTION`. */
  field: string | null;
}

export declare class MixTunnel {
  constructor(options?: MixTunnelOptions);
  /** `statechange`, `progress`, `stats` and `log`, each a `CustomEvent` with its particulars in `detail`. */
  readonly events: EventTarget;
  setup(): Promise<void>;
  disconnect(): Promise<void>;
  getState(): Promise<TunnelState>;
  getInfo(): Promise<TunnelInfo>;
  getStats(): Promise<TunnelStats>;
  mixFetch(input: RequestInfo | URL, init?: MixFetchInit): Promise<Response>;
  mixResolve(host: string): Promise<string>;
  mixSocket(url: string | URL, protocols?: string | string[]): MixWebSocket;
}

/** Makes the shared tunnel ready. Concurrent calls share one set-up; other options on a running tunnel reject. */
export declare function setupMixTunnel(options?: MixTunnelOptions): Promise<void>;
/** Closes the shared tunnel; it can be set up again. */
export declare function disconnectMixTunnel(): Promise<void>;
export declare function getTunnelState(): Promise<TunnelState>;
export declare function getTunnelInfo(): Promise<TunnelInfo>;
export declare function getTunnelStats(): Promise<TunnelStats>;
/** Events of the shared tunnel, across all its lives. */
export declare const tunnelEvents: EventTarget;

/**
 * `fetch` through the mixnet; never falls back to the clear net. Rejects with `TypeError` (`cause` is a
 * `MixError`), or a `DOMException` named `AbortError` or `TimeoutError`.
 */
export declare function mixFetch(input: RequestInfo | URL, init?: MixFetchInit): Promise<Response>;
/** The address of a name, asked through the mixnet. */
export declare function mixResolve(host: string): Promise<string>;
/** The same as `new MixWebSocket(url, protocols)`. */
export declare function mixSocket(url: string | URL, protocols?: string | string[]): MixWebSocket;

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
  constructor(url: string | URL, protocols?: string | string[]);
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
  /** Resolves when the connection is closed. */
  close(code?: number, reason?: string): Promise<void>;
  addEventListener<K extends keyof MixWebSocketEventMap>(
    type: K,
    listener: (this: MixWebSocket, event: MixWebSocketEventMap[K]) => any,
    options?: boolean | AddEventListenerOptions,
  ): void;
  addEventListener(type: string, listener: EventListenerOrEventListenerObject, options?: boolean | AddEventListenerOptions): void;
}
