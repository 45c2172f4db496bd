// Overview: is all well, what runs, what has ended, how full is the cluster.

import { h, part } from './dom.js';
import { link, plural, taskStates, taskState } from './format.js';
import { ago, badge, card, command, empty, facts, id, lasting, noAgents, resourceBars, stateCounts, status } from './widgets.js';
import { Chart } from './chart.js';

export function overviewPage(ctx) {
  ctx.title('Overview');
  const chart = new Chart(() => ctx.stream.now());
  const parts = {
    title: part(h('div', { class: 'head' }), titleLine),
    problems: part(h('div', { class: 'problems' }), problems),
    kpis: part(h('div', { class: 'kpis' }), kpis),
    counts: part(h('div'), taskCounts),
    resources: part(h('div', { class: 'resources' }), resources),
    running: part(h('div'), (rows) => taskLines(rows, false)),
    ended: part(h('div'), (rows) => taskLines(rows, true)),
    cluster: part(h('div'), clusterFacts),
    masters: part(h('div'), masterList),
  };
  const all = (query, text) => h('a', { href: link(['tasks'], query), class: 'more' }, text);
  const body = h('div', { class: 'grid overview', hidden: true },
    h('div', { class: 'wide stack' },
      card('Tasks, last hour', h('div', null, parts.counts.el, chart.el)),
      h('div', { class: 'pair' },
        card('Active now', parts.running.el, all({ state: 'active' }, 'All active')),
        card('Recently ended', parts.ended.el, all({ state: 'ended', sort: '-ended' }, 'All ended')))),
    h('div', { class: 'side stack' }, card('Resources', parts.resources.el),
      card('Cluster', h('div', null, parts.cluster.el, parts.masters.el))));
  const stop = ctx.stream.subscribe('overview', ({ fields: f }) => {
    body.hidden = false;
    parts.title.show(f.cluster);
    parts.problems.show(f.problems);
    parts.kpis.show(f.agents, f.frameworks, f.tasks || {});
    parts.counts.show(f.tasks || {});
    parts.resources.show(f.resources, f.agents, f.cluster.join);
    parts.running.show(f.running);
    parts.ended.show(f.ended);
    parts.cluster.show(f.cluster);
    parts.masters.show(f.masters);
    chart.show(f.history || [], f.tasks);
  });
  parts.title.show({ name: '' });
  return {
    el: h('div', null, parts.title.el, parts.problems.el, parts.kpis.el, body),
    close() { stop(); chart.close(); },
  };
}

function titleLine(c) {
  return [h('h1', { tabindex: '-1' }, c.name || 'Overview')];
}

const SEVERITY = { error: '✕', warning: '⚠', info: 'i' };

function problems(list) {
  return list.map((p) => h('div', { class: `problem ${SEVERITY[p.severity] ? p.severity : 'info'}`, role: p.severity === 'error' ? 'alert' : 'note' },
    h('span', { class: 'sign', 'aria-hidden': 'true' }, SEVERITY[p.severity] || 'i'),
    h('div', null, h('p', { class: 'strong' }, p.text), p.do ? h('p', { class: 'muted' }, p.do) : null)));
}

// kpis are the first three numbers to look at, each with what is not well.
function kpis(agents, frameworks, tasks) {
  const bad = (counts, ...names) => names.filter((n) => counts[n]).map((n) => `${counts[n]} ${n}`).join(', ');
  const total = (counts) => Object.values(counts).reduce((a, b) => a + b, 0);
  const live = taskStates().filter((s) => ['running', 'pending', 'killing', 'unreachable'].includes(taskState(s).group));
  const tile = (href, n, word, note, warn) => h('a', { class: 'kpi', href },
    h('span', { class: 'n' }, n), h('span', null, word), h('span', { class: warn ? 'warn' : 'muted' }, note || ' '));
  const agentsBad = bad(agents, 'unreachable', 'gone', 'disconnected', 'recovered', 'draining', 'drained', 'deactivated');
  const frameworksBad = bad(frameworks, 'disconnected', 'inactive', 'recovered');
  const known = total(frameworks) - (frameworks.completed || 0);
  const pending = (tasks.TASK_STAGING || 0) + (tasks.TASK_STARTING || 0);
  const unreachable = tasks.TASK_UNREACHABLE || 0;
  return [
    tile('#/agents', agents.active || 0, agents.active === 1 ? 'agent active' : 'agents active', agentsBad || (total(agents) ? 'all well' : 'none has joined'), agentsBad !== ''),
    tile(link(['tasks'], { state: 'active' }), live.reduce((n, s) => n + (tasks[s] || 0), 0), 'tasks active', unreachable ? `${unreachable} unreachable` : pending ? `${pending} starting` : 'none waiting', unreachable > 0),
    tile('#/frameworks', known, known === 1 ? 'framework' : 'frameworks', frameworksBad || (known ? 'all connected' : 'none registered'), frameworksBad !== ''),
  ];
}

const SHOWN = ['TASK_STAGING', 'TASK_STARTING', 'TASK_RUNNING', 'TASK_KILLING', 'TASK_UNREACHABLE', 'TASK_FINISHED', 'TASK_FAILED', 'TASK_KILLED', 'TASK_LOST'];
const RARE = ['TASK_ERROR', 'TASK_DROPPED', 'TASK_GONE', 'TASK_GONE_BY_OPERATOR', 'TASK_UNKNOWN'];

function taskCounts(tasks) {
  const names = [...SHOWN, ...RARE.filter((s) => tasks[s])];
  return stateCounts(names.map((name) => ({ name, n: tasks[name] || 0, href: link(['tasks'], { state: name }) })));
}

function resources(r, agents, join) {
  if (Object.keys(agents).length === 0) return noAgents(join);
  return resourceBars(r.total, r.allocated, r.offered);
}

function taskLines(rows, ended) {
  if (rows.length === 0) {
    if (ended) return empty('Nothing has ended yet');
    return empty('Nothing runs', h('p', { class: 'muted' }, 'Try it:'), command("clusterd run --cpus 0.1 --mem 32 --name hello -- sh -c 'echo hello; sleep 60'"));
  }
  return h('ul', { class: 'lines' }, rows.map((t) => h('li', null,
    h('a', { class: 'line', href: link(['tasks', t.framework, t.id]) },
      badge(t.state, t.healthy),
      h('span', { class: 'grow' }, h('span', { class: 'name' }, t.name || t.id), h('span', { class: 'muted small' }, t.host || t.framework_name)),
      h('span', { class: 'muted small' }, ended ? ago(t.ended) : t.started ? lasting(t.started) : 'new')),
    t.why && ended ? h('p', { class: 'why small' }, t.why) : null)));
}

function clusterFacts(c) {
  return facts([
    ['Leader', c.leader ? [h('code', null, c.leader), c.leading ? h('span', { class: 'muted' }, ' (this node)') : null] : h('span', { class: 'warn' }, 'none')],
    ['Version', c.version],
    ['Build', c.build],
    ['Up for', c.started ? lasting(c.started) : null],
    ['Elected', c.elected ? ago(c.elected) : null],
    ['Master id', c.id ? id(c.id, 'master id') : null],
    ['Isolation', c.isolation],
  ]);
}

function masterList(masters) {
  if (masters.length === 0) return null;
  return [h('h3', null, plural(masters.length, 'master')), h('ul', { class: 'lines' }, masters.map((m) => h('li', { class: 'line' },
    status(m.state), h('code', { class: 'grow' }, m.address), h('span', { class: 'muted small', title: `term ${m.term}, applied entry ${m.applied}` }, `at ${m.applied}`))))];
}

