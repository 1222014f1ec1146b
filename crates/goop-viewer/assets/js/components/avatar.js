// Somebody's picture.

import { html } from '../../vendor/ui.js';
import { picture } from '../people.js';

/** Shown instead of a picture that is none. */
const INSTEAD = '/assets/images/mark.svg';

const replace = ({ currentTarget: image }) => { if (!image.src.endsWith(INSTEAD)) image.src = INSTEAD; };

/** The picture of `peer`, or of whatever `src` names; decoration unless it has an `alt`. */
export const Avatar = ({ peer, src = picture(peer), large = false, huge = false, alt = '' }) =>
  html`<img class=${`avatar${large ? ' large' : ''}${huge ? ' huge' : ''}`} src=${src} alt=${alt} loading="lazy" decoding="async" draggable=${false} onError=${replace} />`;
