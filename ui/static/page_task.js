// One task: what it does, why it is as it is, its history and its logs.

import { h, icon, part } from './dom.js';
import { link, span, taskState } from './format.js';
import { ago, badge, card, crumbs, empty, facts, id, labels, lasting, resourceList } from './widgets.js';
import { confirmKill } from './dialogs.js';
import { Log } from './log.js';

export function taskPage(ctx) {
  const [frameworkID, taskID] = ctx.params;
  ctx.title(taskID);
  const heading = part(h('div'), taskHead);
  const why = part(h('div'), whyLine);
  const about = part(h('div'), taskFacts);
  const history = part(h('div'), timeline);
  const logs = new Logs(ctx);
  const body = h('div', { hidden: true }, why.el, card('Logs', logs.el, logs.tabs),
    h('div', { class: 'pair' }, card('About', about.el), card('History', history.el)));
  const stop = ctx.stream.subscribe(`task/${encodeURIComponent(frameworkID)}/${encodeURIComponent(taskID)}`, ({ fields: t }) => {
    heading.show(t.missing ? { missing: true } : { id: t.id, name: t.name, framework: t.framework, state: t.state, healthy: t.healthy, terminal: t.terminal, agent: t.agent, sandbox: t.sandbox });
    body.hidden = Boolean(t.missing);
    if (t.missing) return;
    ctx.title(t.name || t.id);
    why.show(t.why, taskState(t.state).group);
    about.show(t);
    history.show(t.statuses);
    logs.show(t);
  });
  return { el: h('div', null, crumbs(['Tasks', '#/tasks'], [taskID]), heading.el, body), close() { stop(); logs.close(); }, query: (q) => logs.query(q) };
}

function taskHead(t) {
  if (t.missing) return empty('This task is not known', h('p', { class: 'muted' }, 'It may have ended long ago: only the newest completed tasks are kept.'), h('a', { href: '#/tasks' }, 'All tasks'));
  return h('div', { class: 'head' }, h('h1', { tabindex: '-1' }, t.name || t.id), badge(t.state, t.healthy),
    h('span', { class: 'push' },
      t.sandbox ? h('a', { class: 'button', href: browse(t.agent, t.sandbox, t.sandbox) }, icon('folder'), 'Sandbox') : null,
      t.terminal ? null : h('button', { type: 'button', class: 'danger', id: 'kill', onclick: () => confirmKill(t.framework, t.id, t.name) }, 'Kill')));
}

// browse leads to a directory of the agent; root is where its breadcrumbs start.
export function browse(agentID, path, root) {
  return link(['agents', agentID, 'browse'], { path, root });
}

function whyLine(text, group) {
  return text ? h('p', { class: `banner-why w-${group}` }, text) : null;
}

function taskFacts(t) {
  const limits = Object.values(t.limits).some((v) => v) ? resourceList(t.limits) : null;
  return facts([
    ['Id', id(t.id, 'task id', 48)],
    ['Framework', h('a', { href: link(['frameworks', t.framework]) }, t.framework_name || t.framework)],
    ['Agent', h('a', { href: link(['agents', t.agent]) }, t.host || t.agent)],
    ['Command', t.command ? h('code', { class: 'wrap' }, t.command) : null],
    ['Role', t.role],
    ['User', t.user],
    ['Resources', resourceList(t.resources)],
    ['Limits', limits],
    [t.terminal ? 'Ran for' : 'Running for', t.started ? (t.terminal ? span(t.ended - t.started) : lasting(t.started)) : null],
    ['Health', t.healthy === null ? null : t.healthy ? 'healthy' : h('span', { class: 'warn' }, 'unhealthy')],
    ['Ports', t.ports.map((p) => portLink(t, p))],
    ['Addresses', t.ips.join(', ')],
    ['Discovery name', t.discovery],
    ['Labels', labels(t.labels)],
    ['Executor', t.executor && t.executor !== t.id ? id(t.executor, 'executor id', 32) : null],
    ['Container', t.container ? id(t.container, 'container id', 40) : null],
  ]);
}

// lapse is span for what may be shorter than a second.
function lapse(ms) {
  return ms < 1000 ? `${ms} ms` : span(ms);
}

function portLink(t, p) {
  const text = [p.name, p.protocol].filter(Boolean).join(', ');
  const tcp = !p.protocol || p.protocol === 'tcp' || p.protocol === 'http';
  const host = /^[A-Za-z0-9.-]+$/.test(t.host) ? t.host : '';
  return h('span', { class: 'label' },
    tcp && host && !t.terminal ? h('a', { href: `http://${host}:${p.number}/`, target: '_blank', rel: 'noopener noreferrer' }, p.number) : p.number,
    text ? h('span', { class: 'muted' }, ` ${text}`) : null);
}

// timeline shows the states with how long each lasted and what was said.
function timeline(statuses) {
  if (statuses.length === 0) return empty('No status update yet', h('p', { class: 'muted' }, 'The agent has been told to start the task.'));
  return h('ol', { class: 'timeline' }, statuses.map((s, i) => {
    const before = statuses[i - 1];
    const [first, ...rest] = (s.message || '').trim().split('\n');
    return h('li', null, badge(s.state, s.healthy),
      h('span', { class: 'muted small' }, ago(s.at), before && s.at > before.at ? `, ${lapse(s.at - before.at)} later` : null),
      first ? h('p', { class: 'wrap' }, first) : null,
      rest.length ? h('details', null, h('summary', null, 'The whole message'), h('pre', null, rest.join('\n'))) : null,
      s.reason || s.source ? h('p', { class: 'muted small wrap' }, [s.reason, s.source].filter(Boolean).join(' · ')) : null);
  }));
}

// Logs shows stdout or stderr of the task: the one that the address names.
class Logs {
  constructor(ctx) {
    this.ctx = ctx;
    this.el = h('div');
    this.tabs = h('div', { class: 'filters', role: 'group', 'aria-label': 'File' });
    this.name = ctx.query.file === 'stderr' ? 'stderr' : 'stdout';
    this.drawTabs();
  }

  drawTabs() {
    this.tabs.replaceChildren(...['stdout', 'stderr'].map((name) => h('button', {
      type: 'button', 'aria-pressed': String(name === this.name), class: name === this.name ? 'chosen' : '',
      onclick: () => this.ctx.setQuery({ ...this.ctx.query, file: name === 'stdout' ? '' : name }),
    }, name)));
  }

  query(q) {
    const name = q.file === 'stderr' ? 'stderr' : 'stdout';
    if (name === this.name) return;
    this.name = name;
    this.drawTabs();
    this.open();
  }

  show(t) {
    if (t.agent === this.agent && t.sandbox === this.sandbox) return;
    this.agent = t.agent;
    this.sandbox = t.sandbox;
    this.open();
  }

  open() {
    this.close();
    if (!this.sandbox) {
      this.el.replaceChildren(empty('No logs yet', h('p', { class: 'muted' }, 'They begin when the agent has made the sandbox of the task.')));
      return;
    }
    this.log = new Log(this.agent, `${this.sandbox}/${this.name}`);
    this.el.replaceChildren(this.log.el);
  }

  close() {
    this.log?.close();
    this.log = null;
  }
}
