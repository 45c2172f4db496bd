// Agents: the list, and one of them.

import { h, part } from './dom.js';
import { link, number, shorten, taskStates } from './format.js';
import { ago, card, crumbs, empty, facts, id, labels, lasting, meter, noAgents, quantity, resourceBars, stateCounts, status } from './widgets.js';
import { List } from './list.js';
import { taskTable } from './page_tasks.js';

const COLUMNS = [
  { name: 'state', title: 'State', sort: 'state', cell: (a) => status(a.state) },
  {
    name: 'host', title: 'Host', sort: 'host',
    cell: (a) => [h('a', { href: link(['agents', a.id]), class: 'name' }, a.host || a.id), h('div', { class: 'sub' }, id(a.id, 'agent id'))],
  },
  { name: 'zone', title: 'Zone', sort: 'zone', priority: 3, cell: (a) => [a.region, a.zone].filter(Boolean).join(' / ') || h('span', { class: 'none' }, '–') },
  { name: 'attributes', title: 'Attributes', priority: 3, cell: (a) => h('span', { class: 'labels' }, labels(a.attributes)) },
  { name: 'tasks', title: 'Active tasks', sort: 'tasks', number: true, cell: (a) => a.tasks },
  ...['cpus', 'mem', 'disk', 'gpus'].map((kind) => ({
    name: kind, title: { cpus: 'CPUs', mem: 'Memory', disk: 'Disk', gpus: 'GPUs' }[kind], sort: kind, number: false, newest: true,
    priority: { cpus: 0, mem: 2, disk: 2, gpus: 3 }[kind], cell: (a) => meter(kind, a),
  })),
  { name: 'version', title: 'Version', sort: 'version', priority: 3, cell: (a) => a.version },
  { name: 'registered', title: 'Registered', sort: 'registered', newest: true, priority: 2, cell: (a) => [ago(a.registered), awayLine(a)] },
];

function awayLine(a) {
  if (!a.unreachable) return null;
  return h('div', { class: 'sub warn' }, 'away for ', lasting(a.unreachable));
}

export function agentsPage(ctx) {
  ctx.title('Agents');
  const list = new List({
    ctx, name: 'agents', columns: COLUMNS, order: 'host',
    filters: [['all', 'All', 'all'], ['active', 'Active', 'active'], ['unreachable', 'Unreachable', 'unreachable'], ['deactivated', 'Deactivated', 'deactivated'], ['draining', 'Draining', 'draining']],
    href: (a) => link(['agents', a.id]),
    nothing: (fields) => noAgents(fields.join),
  });
  return { el: h('div', null, h('div', { class: 'head' }, h('h1', { tabindex: '-1' }, 'Agents')), list.el), list, query: (q) => list.read(q), close: () => list.close() };
}

export function agentPage(ctx) {
  const agentID = ctx.params[0];
  ctx.title(`Agent ${agentID}`);
  const heading = part(h('div'), agentHead);
  const about = part(h('div'), agentFacts);
  const use = part(h('div', { class: 'resources' }), (total, allocated, offered) => resourceBars(total, allocated, offered));
  const counts = part(h('div'), (c) => stateCounts(taskStates().filter((name) => c[name]).map((name) => ({ name, n: c[name], href: link(['agents', agentID], { state: name }) }))));
  const frameworks = part(h('div'), frameworkTable);
  const list = taskTable(ctx, { agent: agentID });
  const body = h('div', { hidden: true }, h('div', { class: 'pair' }, card('About', about.el), card('Resources', use.el)), counts.el,
    card('Frameworks here', frameworks.el), card('Tasks', list.el));
  const stop = ctx.stream.subscribe(`agent/${encodeURIComponent(agentID)}`, ({ fields: a }) => {
    heading.show(a.missing ? { missing: true } : { host: a.host, id: a.id, state: a.state });
    body.hidden = Boolean(a.missing);
    if (a.missing) return;
    ctx.title(a.host || a.id);
    about.show(a);
    use.show(a.total, a.allocated, a.offered);
    counts.show(a.counts);
    frameworks.show(a.frameworks);
  });
  return { el: h('div', null, crumbs(['Agents', '#/agents'], [shorten(agentID)]), heading.el, body), list, query: (q) => list.read(q), close() { stop(); list.close(); } };
}

function agentHead(a) {
  if (a.missing) return empty('This agent is not known', h('p', { class: 'muted' }, 'It may have been removed, or have come back under a new id.'), h('a', { href: '#/agents' }, 'All agents'));
  return h('div', { class: 'head' }, h('h1', { tabindex: '-1' }, a.host || a.id), status(a.state));
}

function agentFacts(a) {
  return facts([
    ['Id', id(a.id, 'agent id', 48)],
    ['Address', a.address ? h('code', null, a.address) : null],
    ['Version', a.version],
    ['Region, zone', [a.region, a.zone].filter(Boolean).join(' / ')],
    ['Attributes', labels(a.attributes)],
    ['Isolation', a.isolation],
    ['Ports', a.total.ports],
    ['Registered', ago(a.registered)],
    ['Re-registered', a.reregistered ? ago(a.reregistered) : null],
    ['Away since', a.unreachable ? h('span', { class: 'warn' }, ago(a.unreachable)) : null],
    ['Capabilities', a.capabilities.length ? h('span', { class: 'small' }, a.capabilities.join(', ')) : null],
  ]);
}

function frameworkTable(rows) {
  if (rows.length === 0) return empty('No framework has a task here now');
  return h('div', { class: 'scroll' }, h('table', { class: 'plain' },
    h('thead', null, h('tr', null, ['Framework', 'Active tasks', 'CPUs', 'Memory', 'Disk'].map((t, i) => h('th', { scope: 'col', class: i > 0 ? 'number' : '' }, t)))),
    h('tbody', null, rows.map((f) => h('tr', null,
      h('td', null, h('a', { href: link(['frameworks', f.id]) }, f.name || f.id)),
      h('td', { class: 'number' }, number(f.tasks)),
      ['cpus', 'mem', 'disk'].map((k) => h('td', { class: 'number' }, quantity(k, f.allocated[k]))))))));
}
