// Tasks: the list, alone and on the pages of a framework and an agent.

import { h } from './dom.js';
import { link, megabytes, number } from './format.js';
import { ago, badge, command, empty, id } from './widgets.js';
import { List } from './list.js';

const FILTERS = [['all', 'All', 'all'], ['active', 'Active', 'active'], ['pending', 'Starting', 'pending'], ['running', 'Running', 'running'],
  ['unreachable', 'Unreachable', 'unreachable'], ['ended', 'Ended', 'ended'], ['finished', 'Finished', 'finished'], ['failed', 'Failed', 'failed'], ['killed', 'Killed', 'killed']];

const COLUMNS = [
  { name: 'state', title: 'State', sort: 'state', cell: (t) => badge(t.state, t.healthy) },
  {
    name: 'name', title: 'Task', sort: 'name',
    cell: (t) => [h('a', { href: link(['tasks', t.framework, t.id]), class: 'name' }, t.name || t.id),
      t.why ? h('div', { class: 'sub why' }, t.why) : null,
      t.name && t.name !== t.id ? h('div', { class: 'sub' }, id(t.id, 'task id', 26)) : null],
  },
  { name: 'framework', title: 'Framework', sort: 'framework', priority: 2, full: (t) => t.framework_name || t.framework, cell: (t) => h('a', { href: link(['frameworks', t.framework]) }, t.framework_name || t.framework) },
  { name: 'agent', title: 'Agent', sort: 'agent', priority: 2, full: (t) => t.host || t.agent, cell: (t) => h('a', { href: link(['agents', t.agent]) }, t.host || t.agent) },
  { name: 'role', title: 'Role', sort: 'role', priority: 3, full: (t) => t.role, cell: (t) => t.role },
  { name: 'cpus', title: 'CPUs', sort: 'cpus', number: true, priority: 3, cell: (t) => number(t.resources.cpus) },
  { name: 'mem', title: 'Memory', sort: 'mem', number: true, priority: 3, cell: (t) => megabytes(t.resources.mem) },
  { name: 'started', title: 'Started', sort: 'started', newest: true, cell: (t) => ago(t.started) },
  { name: 'ended', title: 'Ended', sort: 'ended', newest: true, priority: 2, cell: (t) => ago(t.ended) },
];

// taskTable lists tasks; fixed leaves out the column that is the same for all.
export function taskTable(ctx, fixed) {
  return new List({
    ctx, name: 'tasks', fixed, columns: COLUMNS.filter((c) => !(c.name in fixed)), order: '-started', filters: FILTERS,
    href: (t) => link(['tasks', t.framework, t.id]),
    nothing: () => empty('No tasks yet', h('p', { class: 'muted' }, 'Run one from a terminal:'),
      command("clusterd run --cpus 0.1 --mem 32 --name hello -- sh -c 'echo hello; sleep 60'")),
  });
}

export function tasksPage(ctx) {
  ctx.title('Tasks');
  const list = taskTable(ctx, {});
  return { el: h('div', null, h('div', { class: 'head' }, h('h1', { tabindex: '-1' }, 'Tasks')), list.el), list, query: (q) => list.read(q), close: () => list.close() };
}
