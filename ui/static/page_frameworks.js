// Frameworks: the list, and one of them.

import { h, icon, part } from './dom.js';
import { link, percent, plural, shorten, span, taskStates } from './format.js';
import { ago, card, command, crumbs, empty, facts, id, labels, quantity, resourceBars, stateCounts, status, until } from './widgets.js';
import { List } from './list.js';
import { taskTable } from './page_tasks.js';

const NONE = { cpus: 0, mem: 0, disk: 0, gpus: 0 };

const COLUMNS = [
  { name: 'state', title: 'State', sort: 'state', cell: (f) => status(f.state) },
  {
    name: 'name', title: 'Name', sort: 'name',
    cell: (f) => [h('a', { href: link(['frameworks', f.id]), class: 'name' }, f.name || f.id), h('div', { class: 'sub' }, id(f.id, 'framework id'))],
  },
  { name: 'roles', title: 'Roles', sort: 'roles', priority: 2, full: (f) => f.roles.join(', '), cell: (f) => f.roles.join(', ') || '*' },
  { name: 'user', title: 'User', sort: 'user', priority: 3, full: (f) => f.user, cell: (f) => f.user },
  { name: 'principal', title: 'Principal', sort: 'principal', priority: 3, full: (f) => f.principal, cell: (f) => f.principal || h('span', { class: 'none' }, '–') },
  { name: 'host', title: 'Host', sort: 'host', priority: 2, full: (f) => f.host, cell: (f) => webui(f, f.host) || f.host || h('span', { class: 'none' }, '–') },
  { name: 'tasks', title: 'Active tasks', sort: 'tasks', number: true, cell: (f) => f.tasks },
  ...['cpus', 'mem', 'disk'].map((kind) => ({
    name: kind, title: { cpus: 'CPUs', mem: 'Memory', disk: 'Disk' }[kind], sort: kind, number: true, priority: kind === 'disk' ? 3 : 2,
    cell: (f) => quantity(kind, f.allocated[kind]),
  })),
  { name: 'share', title: 'Max share', sort: 'share', number: true, priority: 3, cell: (f) => percent(f.share) },
  {
    name: 'registered', title: 'Registered', sort: 'registered', newest: true, priority: 2,
    cell: (f) => (f.state === 'completed' ? [ago(f.registered), h('div', { class: 'sub muted' }, 'ended ', ago(f.ended))] : [ago(f.registered), leftLine(f)]),
  },
];

// webui links to the framework's own pages, when it has any on the web.
function webui(f, text) {
  if (!f.webui) return null;
  return h('a', { href: f.webui, target: '_blank', rel: 'noopener noreferrer' }, text || f.webui, ' ', icon('out'));
}

// leftLine warns of a framework whose time to come back is running out.
function leftLine(f) {
  if (!f.disconnected) return null;
  return h('div', { class: 'sub warn' }, f.failover > 0 ? ['gone in ', until(f.failover_until)] : 'about to be removed');
}

export function frameworksPage(ctx) {
  ctx.title('Frameworks');
  const list = new List({
    ctx, name: 'frameworks', columns: COLUMNS, order: '-registered', filter: 'current',
    filters: [['current', 'Current', 'current'], ['active', 'Active', 'active'], ['disconnected', 'Disconnected', 'disconnected'],
      ['inactive', 'Inactive', 'inactive'], ['completed', 'Completed', 'completed'], ['all', 'All', 'all']],
    href: (f) => link(['frameworks', f.id]),
    nothing: () => empty('No framework is registered', h('p', { class: 'muted' }, 'This starts one that runs a single task:'),
      command("clusterd run --cpus 0.1 --mem 32 --name hello -- sh -c 'echo hello'")),
  });
  return { el: h('div', null, h('div', { class: 'head' }, h('h1', { tabindex: '-1' }, 'Frameworks')), list.el), list, query: (q) => list.read(q), close: () => list.close() };
}

export function frameworkPage(ctx) {
  const frameworkID = ctx.params[0];
  ctx.title(`Framework ${frameworkID}`);
  const heading = part(h('div'), frameworkHead);
  const about = part(h('div'), frameworkFacts);
  const use = part(h('div', { class: 'resources' }), (total, allocated, offered) => resourceBars(total, allocated, offered, 'not its own'));
  const counts = part(h('div'), (c) => stateCounts(taskStates().filter((name) => c[name]).map((name) => ({ name, n: c[name], href: link(['frameworks', frameworkID], { state: name }) }))));
  const list = taskTable(ctx, { framework: frameworkID });
  const body = h('div', { hidden: true }, h('div', { class: 'pair' }, card('About', about.el), card('Part of the cluster', use.el)), counts.el,
    card('Tasks', list.el));
  const stop = ctx.stream.subscribe(`framework/${encodeURIComponent(frameworkID)}`, ({ fields: f }) => {
    heading.show(f.missing ? { id: frameworkID, missing: true } : { id: f.id, name: f.name, state: f.state, webui: f.webui });
    body.hidden = Boolean(f.missing);
    if (f.missing) return;
    ctx.title(f.name || f.id);
    about.show(f);
    use.show(f.total, f.allocated || NONE, f.offered || NONE);
    counts.show(f.counts);
  });
  return { el: h('div', null, crumbs(['Frameworks', '#/frameworks'], [shorten(frameworkID)]), heading.el, body), list, query: (q) => list.read(q), close() { stop(); list.close(); } };
}

function frameworkHead(f) {
  if (f.missing) return empty('This framework is not known', h('p', { class: 'muted' }, 'It may have completed long ago: only the newest completed frameworks are kept.'), h('a', { href: '#/frameworks' }, 'All frameworks'));
  return h('div', { class: 'head' }, h('h1', { tabindex: '-1' }, f.name || f.id), status(f.state), h('span', { class: 'push' }, webui(f, 'Web UI')));
}

function frameworkFacts(f) {
  return facts([
    ['Id', id(f.id, 'framework id', 48)],
    ['User', f.user],
    ['Roles', f.roles.join(', ')],
    ['Principal', f.principal],
    ['Host', f.host],
    ['Registered', ago(f.registered)],
    ['Re-registered', f.reregistered ? ago(f.reregistered) : null],
    ['Completed', f.ended ? ago(f.ended) : null],
    ['Failover time-out', f.failover ? span(f.failover) : 'none'],
    ['Time left', f.disconnected ? h('span', { class: 'warn' }, until(f.failover_until)) : null],
    ['Checkpointing', f.checkpoint ? 'on' : 'off'],
    ['Capabilities', f.capabilities.length ? h('span', { class: 'small' }, f.capabilities.join(', ')) : null],
    ['Labels', labels(f.labels)],
    ['Active tasks', plural(f.tasks, 'task')],
  ]);
}
