// How far something is.

import { html } from '../../vendor/ui.js';

/** A bar with its words. `value` from 0 to 1; without one it only says that something is going on. */
export const Progress = ({ label, value }) => html`<div class="progress" role="group">
  <span class="small">${label}</span>
  <progress aria-label=${label} max="1" value=${value ?? undefined}></progress>
</div>`;
