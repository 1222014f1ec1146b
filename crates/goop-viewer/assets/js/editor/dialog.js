// Questions: a form that stays until what was asked for is done, and a choice of a few answers.

import { Dialog, openDialog } from '../components/dialog.js';
import { html, useEffect, useId, useRef, useState } from '../../vendor/ui.js';

const strings = {
  cancel: 'Cancel',
};

function Field({ name, label, value = '', hint, select, list, first }) {
  const id = useId();
  const input = useRef(null);
  useEffect(() => {
    // The dialog gives it the focus after this, which keeps what is selected.
    if (select) input.current.setSelectionRange(...select);
  }, []);
  return html`<div class="field"><label for=${id}>${label}</label>
    <input ref=${input} id=${id} name=${name} defaultValue=${value} autocomplete="off" spellcheck="false" autocapitalize="off" data-first=${first}
      list=${list ? `${id}-list` : undefined} aria-describedby=${hint ? `${id}-hint` : undefined} />
    ${list && html`<datalist id=${`${id}-list`}>${list.map((option) => html`<option key=${option} value=${option}></option>`)}</datalist>`}
    ${hint && html`<p class="small muted" id=${`${id}-hint`}>${hint}</p>`}</div>`;
}

function Question({ title, fields, action, submit, close }) {
  const [problem, setProblem] = useState('');
  const [busy, setBusy] = useState(false);
  async function onSubmit(event) {
    event.preventDefault();
    if (busy) return;
    setBusy(true);
    setProblem('');
    const form = event.currentTarget;
    const values = Object.fromEntries([...new FormData(form)].map(([name, value]) => [name, value.trim()]));
    try {
      await submit(values);
      close(values);
    } catch (error) {
      setProblem(error.message);
      setBusy(false);
      form.querySelector('input')?.focus();
    }
  }
  return html`<${Dialog} title=${title} onClose=${() => close(null)}>
    <form class="stack" onSubmit=${onSubmit}>
      ${fields.map((field, index) => html`<${Field} key=${field.name} first=${index === 0} ...${field} />`)}
      <p class="ask-problem" role="alert">${problem}</p>
      <div class="row dialog-ways"><button type="button" class="button" onClick=${() => close(null)}>${strings.cancel}</button>
        <button class="button primary" aria-disabled=${String(busy)}>${action}</button></div>
    </form><//>`;
}

/**
 * Asks for some texts. `submit(values)` does what was asked for; while it throws, the dialog stays and says why.
 * Gives back the texts, or `null` when the person left.
 */
export const ask = (question) => openDialog((close) => html`<${Question} ...${question} close=${close} />`);

/** Lets a person choose one of `choices` (`{value, label, kind}`); `null` when they left. */
export const choose = ({ title, text, choices }) => openDialog((close) => html`
  <${Dialog} title=${title} onClose=${() => close(null)}>
    <p class="ask-text">${text}</p>
    <div class="row dialog-ways"><button type="button" class="button" data-first onClick=${() => close(null)}>${strings.cancel}</button>
      ${choices.map(({ value, label, kind }) => html`<button key=${value} type="button" class=${`button ${kind ?? ''}`} onClick=${() => close(value)}>${label}</button>`)}</div>
  <//>`);
