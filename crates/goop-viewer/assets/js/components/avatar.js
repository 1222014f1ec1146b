// Somebody's picture.

import { html } from '../../vendor/ui.js';
import { picture } from '../people.js';

/** The picture of `peer`, or of whatever `src` names; decoration unless it has an `alt`. */
export const Avatar = ({ peer, src = picture(peer), large = false, alt = '' }) =>
  html`<img class=${large ? 'avatar large' : 'avatar'} src=${src} alt=${alt} loading="lazy" decoding="async" draggable=${false} />`;
