// Questions: a form that stays until what was asked for is done, and a choice of a few answers. Both are modal dialogs of
// the browser, so focus stays inside, Escape leaves, and afterwards focus is where it was.

import { el } from '../dom.js';

const strings = {
  cancel: 'Cancel',
};

let count = 0;

function open(content, onclose) {
  const id = `dialog-${count += 1}`;
  const dialog = el('dialog', { class: 'ask', 'aria-labelledby': id }, content(id, () => dialog.close()));
  // Only a press that began outside leaves: selecting text and letting go outside does not.
  dialog.addEventListener('pointerdown', (event) => {
    if (event.target !== dialog) return;
    const box = dialog.getBoundingClientRect();
    const inside = event.clientX >= box.left && event.clientX <= box.right && event.clientY >= box.top && event.clientY <= box.bottom;
    if (!inside) dialog.close();
  });
  dialog.addEventListener('close', () => {
    dialog.remove();
    onclose();
  });
  document.getElementById('main').append(dialog);
  dialog.showModal();
  return dialog;
}

function field({ name, label, value = '', hint, select, list }) {
  const id = `${name}-${count += 1}`;
  const choices = list && el('datalist', { id: `${id}-list` }, list.map((option) => el('option', { value: option })));
  const input = el('input', {
    id, name, value, autocomplete: 'off', spellcheck: 'false', autocapitalize: 'off',
    list: list && `${id}-list`, 'aria-describedby': hint && `${id}-hint`,
  });
  // Select after focus; the dialog focuses first.
  if (select) input.addEventListener('focus', () => input.setSelectionRange(...select), { once: true });
  return el('div', { class: 'field' }, el('label', { for: id }, label), input, choices,
    hint && el('p', { class: 'small muted', id: `${id}-hint` }, hint));
}

/**
 * Asks for some texts. `submit(values)` does what was asked for; while it throws, the dialog stays and says why.
 * Gives back what `submit` gave, or `null` when the person left.
 */
export function ask({ title, text, fields, action, submit }) {
  return new Promise((done) => {
    let result = null;
    let busy = false;
    const problem = el('p', { class: 'ask-problem', role: 'alert' });
    const ok = el('button', { class: 'button primary' }, action);
    const dialog = open((id, close) => el('form', { class: 'stack', onsubmit: async (event) => {
      event.preventDefault();
      if (busy) return;
      busy = true;
      ok.setAttribute('aria-disabled', 'true');
      problem.textContent = '';
      const values = Object.fromEntries([...new FormData(event.target)].map(([name, value]) => [name, value.trim()]));
      try {
        result = (await submit(values)) ?? values;
        close();
      } catch (error) {
        problem.textContent = error.message;
        event.target.querySelector('input')?.focus();
      } finally {
        busy = false;
        ok.removeAttribute('aria-disabled');
      }
    } }, el('h2', { id }, title), text && el('p', { class: 'muted' }, text), fields.map(field), problem,
    el('div', { class: 'row ask-actions' }, el('button', { class: 'button', type: 'button', onclick: close }, strings.cancel), ok)),
    () => done(result));
    dialog.querySelector('input')?.focus();
  });
}

/** Lets a person choose one of `choices` (`{value, label, kind}`); `null` when they left. */
export function choose({ title, text, choices }) {
  return new Promise((done) => {
    let result = null;
    open((id, close) => el('div', { class: 'stack' }, el('h2', { id }, title), el('p', { class: 'ask-text' }, text),
      el('div', { class: 'row ask-actions' },
        el('button', { class: 'button', type: 'button', onclick: close }, strings.cancel),
        choices.map(({ value, label, kind }) => el('button', { class: `button ${kind ?? ''}`, type: 'button', onclick: () => {
          result = value;
          close();
        } }, label)))), () => done(result));
  });
}
