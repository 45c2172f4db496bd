// What opens over the page: confirmations, help, and notes that go by themselves.

import { h, icon } from './dom.js';

const TOAST_MS = 6000;

// toast shows a note for a while.
export function toast(text, bad) {
  const note = h('div', { class: `toast${bad ? ' bad' : ''}` }, h('span', null, text),
    h('button', { type: 'button', class: 'ghost', 'aria-label': 'Dismiss', onclick: () => note.remove() }, icon('close')));
  document.getElementById('toasts').append(note);
  setTimeout(() => note.remove(), TOAST_MS);
}

function open(dialog) {
  document.body.append(dialog);
  dialog.addEventListener('close', () => dialog.remove());
  dialog.addEventListener('click', (e) => { if (e.target === dialog) dialog.close(); });
  dialog.showModal();
}

// confirm asks before something is done. act returns a promise; while it runs
// the dialog waits, and an error is shown in it.
export function confirm({ title, text, verb, act }) {
  const error = h('p', { class: 'error', role: 'alert', hidden: true });
  const yes = h('button', {
    type: 'button', class: 'danger', id: 'confirm',
    onclick: async () => {
      yes.disabled = true;
      error.hidden = true;
      try {
        await act();
        dialog.close();
      } catch (e) {
        error.textContent = e.message;
        error.hidden = false;
        yes.disabled = false;
      }
    },
  }, verb);
  const dialog = h('dialog', { 'aria-labelledby': 'dialog-title' },
    h('h2', { id: 'dialog-title' }, title), h('div', { class: 'dialog-text' }, text), error,
    h('div', { class: 'actions' }, h('button', { type: 'button', autofocus: true, onclick: () => dialog.close() }, 'Cancel'), yes));
  open(dialog);
}

const KEYS = [
  ['/', 'Search in this page'],
  ['?', 'This help'],
  ['↑ ↓', 'Previous and next row of a list (also k and j)'],
  ['Enter', 'Open the row'],
  ['[ ]', 'Previous and next page of a list'],
  ['Esc', 'Leave the search, close a dialog'],
  ['g o', 'Overview'],
  ['g t', 'Tasks'],
  ['g f', 'Frameworks'],
  ['g a', 'Agents'],
];

const LOG_KEYS = [
  ['Enter', 'Next match (with Shift the previous one), in the search of a log'],
  ['Home End', 'Start and end of the file, when the log has the focus'],
  ['Space', 'Pause or follow, when the log has the focus'],
];

// help shows the keys.
export function help() {
  if (document.querySelector('dialog[open]')) return;
  const rows = (keys) => keys.map(([key, what]) => h('div', null,
    h('dt', null, key.split(' ').map((k) => h('kbd', null, k))), h('dd', null, what)));
  const dialog = h('dialog', { 'aria-labelledby': 'dialog-title', class: 'help' },
    h('h2', { id: 'dialog-title' }, 'Keyboard'), h('dl', { class: 'keys' }, rows(KEYS)),
    h('h2', null, 'Logs'), h('dl', { class: 'keys' }, rows(LOG_KEYS)),
    h('p', { class: 'muted' }, 'A click on a time shows all times exactly, another one their age.'),
    h('div', { class: 'actions' }, h('button', { type: 'button', autofocus: true, onclick: () => dialog.close() }, 'Close')));
  open(dialog);
}

// post sends an action and throws the node's own words when it is refused.
export async function post(path, body) {
  let answer;
  try {
    answer = await fetch(path, { method: 'POST', headers: { 'Content-Type': 'application/json' }, body: JSON.stringify(body) });
  } catch {
    throw new Error('The node does not answer.');
  }
  const reply = await answer.json().catch(() => ({}));
  if (!answer.ok) throw new Error(reply.error || `${answer.status} ${answer.statusText}`);
}

// confirmKill asks, and has the task killed.
export function confirmKill(frameworkID, taskID, name) {
  confirm({
    title: 'Kill this task?',
    text: [h('p', null, h('strong', null, name || taskID)),
      h('p', { class: 'muted' }, 'It is asked to end, and is killed when its grace period is over. Its framework may start another one in its place.')],
    verb: 'Kill task',
    act: async () => {
      await post('/ui/kill', { framework: frameworkID, task: taskID });
      toast(`Kill of ${name || taskID} requested.`);
    },
  });
}
