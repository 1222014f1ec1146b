// Parts as plain elements, for what is not drawn by the reactive layer.

import { html, render } from '../../vendor/ui.js';
import { Failure } from './states.js';

/** What went wrong, as an element. */
export function failure(error) {
  const box = document.createElement('div');
  render(html`<${Failure} error=${error} />`, box);
  return box;
}
