// A form with every kind of field, and somebody who saves it or refuses.

import { Choice, Secret, Switch, Text } from '/assets/js/components/field.js';
import { SaveBar, useForm } from '/assets/js/components/form.js';
import { html, useState } from '/assets/vendor/ui.js';
import { HEBREW, MARKUP, say } from './stage.js';

const refused = (errors, text = 'refused') => Object.assign(new Error(text), { data: { errors } });

function Form() {
  const [stored, setStored] = useState({ name: 'Ada', port: 8080, color: 'green', loud: false, token: '' });
  const send = async (changes) => {
    say(`sent ${JSON.stringify(changes)}`);
    if (changes.name === 'taken') throw refused([{ field: 'name', message: `Somebody has this name ${MARKUP}` }]);
    if (changes.name === 'broken') throw new Error('The disk is full. Make room, then save again.');
    setStored({ ...stored, ...changes, token: '' });
  };
  const check = (key, value) => (key === 'port' && !/^\d+$/.test(value) ? 'Type a whole number.' : '');
  const form = useForm({ name: 'stage', stored, send, check, lost: (key) => key === 'token' });
  const field = (key, label) => ({ id: `field-${key}`, label, error: form.errors[key], value: form.value(key), onChange: (value) => form.set(key, value) });
  return html`<form class="card stack" ref=${form.form} onSubmit=${form.submit} noValidate aria-label="Stage">
    <${Text} ...${field('name', `Name ${HEBREW}`)} hint="As others see it." restart />
    <${Text} ...${field('port', 'Port')} />
    <${Choice} ...${field('color', 'Colour')} choices=${[['green', 'Green'], ['red', `Red ${MARKUP}`]]} />
    <${Switch} ...${field('loud', 'Loud')} hint="Everybody hears it." />
    <${Secret} ...${field('token', 'Token')} isSet generate=${() => 'made-up'} />
    <${SaveBar} form=${form} />
  </form>`;
}

export function Part() {
  const [shown, setShown] = useState(true);
  return html`<button type="button" class="button" onClick=${() => setShown(!shown)}>${shown ? 'Leave the form' : 'Come back'}</button>${shown && html`<${Form} />`}`;
}
