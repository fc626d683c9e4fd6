/**
 * What the nodes of a local network tell of themselves: their counters, read from the directory as JSON. Other
 * networks tell nothing; then there are only the tunnel's own counters.
 *
 * @module
 */

/** @import {TunnelInfo, TunnelStats} from '../../worker/smolmix.js' */

/**
 * @typedef {object} NodeStatus
 * @property {boolean} running
 * @property {string} identity
 * @property {string} mix_address
 * @property {string} ip of `mix_address`
 * @property {string} [websocket]
 * @property {string} [ip_packet_router]
 * @property {Record<string, number>} ingress_mixing
 * @property {Record<string, number>} egress_mixing
 * @property {number} [delayed_packets]
 * @property {number} [clients_connected]
 * @property {{to: string, sent: number}[]} [links]
 * @property {{router: Record<string, number>}} [service]
 * @property {{clients?: string[], nodes?: string[], next?: string[], destinations?: string[]}} [sees]
 */

/** @typedef {{nodes: Record<string, NodeStatus>}} NetworkStatus */

/** @param {string} url @returns {Promise<NetworkStatus>} */
export async function readStatus(url) {
  const response = await fetch(url, { cache: 'no-store', credentials: 'omit' });
  if (!response.ok) throw new Error(`the network's status has HTTP status ${response.status}`);
  const { network, nodes } = await response.json();
  /** @type {Record<string, NodeStatus>} */
  const all = {};
  for (const [name, node] of Object.entries(nodes)) {
    const known = network.nodes[name] ?? {};
    all[name] = { ...known, ...node, ip: String(known.mix_address ?? '').replace(/:\d+$/, '') };
  }
  return { nodes: all };
}

/**
 * Which node plays which part for this tunnel.
 *
 * @param {Record<string, NodeStatus>} nodes
 * @param {TunnelInfo | null} info
 * @returns {{gateway: string | null, layers: string[], exit: string | null}}
 */
export function rolesOf(nodes, info) {
  const names = Object.keys(nodes);
  const layers = names.filter((name) => nodes[name]?.websocket === undefined).sort();
  const gateway = names.find((name) => info?.gateway && nodes[name]?.identity === info.gateway);
  const exit = names.find((name) => info?.exit && nodes[name]?.ip_packet_router === info.exit);
  return { gateway: gateway ?? null, layers, exit: exit ?? null };
}

/** Links of the map by name: packets so far. @typedef {Record<string, number>} Totals */

/**
 * Packets of each link that the nodes know of. `layer1` is the first mix node of this network.
 *
 * @param {Record<string, NodeStatus>} nodes
 * @param {TunnelInfo | null} info
 * @returns {Totals}
 */
export function nodeTotals(nodes, info) {
  const { gateway, layers, exit } = rolesOf(nodes, info);
  const [first, second, third] = layers;
  /** @type {[string, string | null | undefined, string | null | undefined][]} */
  const links = [
    ['gateway>layer1', gateway, first],
    ['layer1>layer2', first, second],
    ['layer2>layer3', second, third],
    ['layer3>exit', third, exit],
    ['exit>layer1', exit, first],
    ['layer3>gateway', third, gateway],
  ];
  /** @type {Totals} */
  const totals = {};
  for (const [link, from, to] of links) {
    const target = to && nodes[to]?.mix_address;
    const sent = from && nodes[from]?.links?.find((one) => one.to === target)?.sent;
    if (from && to) totals[link] = sent || 0;
  }
  const router = exit ? nodes[exit]?.service?.router : undefined;
  if (router) {
    totals['exit>site'] = router.packets_from_clients ?? 0;
    totals['site>exit'] = router.packets_to_clients ?? 0;
  }
  return totals;
}

/**
 * Packets of the links that the tunnel itself counts.
 *
 * @param {TunnelStats} stats
 * @returns {Totals}
 */
export function ownTotals(stats) {
  return {
    'page>gateway': stats.gateway?.packetsSent ?? 0,
    'gateway>page': stats.gateway?.pushesReceived ?? 0,
    'exit>site': stats.driver?.ipPacketsOut ?? 0,
    'site>exit': stats.driver?.ipPacketsIn ?? 0,
  };
}
