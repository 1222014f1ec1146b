// Small pictures of the editor. They say nothing to a screen reader; what they stand for is written beside them.

import { html } from '../../vendor/ui.js';

const shapes = {
  folder: 'M2 4.5A1.5 1.5 0 0 1 3.5 3h3l1.5 2h4.5A1.5 1.5 0 0 1 14 6.5v5a1.5 1.5 0 0 1-1.5 1.5h-9A1.5 1.5 0 0 1 2 11.5z',
  site: 'M2.5 7.5 8 3l5.5 4.5M4 6.8V13h8V6.8M6.7 13V9.5h2.6V13',
  page: 'M2.5 3.5h11v9h-11zM2.5 6.2h11',
  code: 'm6 4.5-3.5 3.5L6 11.5M10 4.5l3.5 3.5-3.5 3.5',
  text: 'M4 2.5h5.5L12.5 5.5v8h-8.5zM6.3 7.5h4M6.3 10h4',
  image: 'M2.5 3.5h11v9h-11zM2.5 10.5l3.2-3 2.6 2.4 2-1.6 3.2 2.7M10.3 6.3h.01',
  sound: 'M6 12V4l6.5-1.3v8M6 12a1.7 1.5 0 1 1-3.4 0A1.7 1.5 0 0 1 6 12zM12.5 10.7a1.7 1.5 0 1 1-3.4 0 1.7 1.5 0 0 1 3.4 0z',
  film: 'M2.5 4h11v8h-11zM6.7 6.2v3.6L9.8 8z',
  paper: 'M4 2.5h5.5L12.5 5.5v8H4zM9.2 2.5v3.3h3.3',
  open: 'm4 6 4 4 4-4',
  closed: 'm6 4 4 4-4 4',
  newFile: 'M9.5 2.5H4v11h8.5V5.5zM8.2 7v4M6.2 9h4',
  newFolder: 'M2 4.5A1.5 1.5 0 0 1 3.5 3h3l1.5 2h4.5A1.5 1.5 0 0 1 14 6.5v5a1.5 1.5 0 0 1-1.5 1.5h-9A1.5 1.5 0 0 1 2 11.5zM8 7.2v3.6M6.2 9h3.6',
  upload: 'M8 10.5V3M5 5.7 8 2.8l3 2.9M3 10v3h10v-3',
  more: 'M3.5 8h.01M8 8h.01M12.5 8h.01',
  reload: 'M12.8 6.5A5 5 0 1 0 13 9M13 3.2v3.5H9.5',
  out: 'M9.5 3H13v3.5M13 3 7.5 8.5M6.5 4H3v9h9V9.5',
  close: 'm4 4 8 8M12 4l-8 8',
  look: 'M1.8 8S4 3.8 8 3.8 14.2 8 14.2 8 12 12.2 8 12.2 1.8 8 1.8 8zM8 9.8a1.8 1.8 0 1 0 0-3.6 1.8 1.8 0 0 0 0 3.6z',
};

/** One of the pictures by its name. */
export const Icon = ({ name }) => html`
  <svg class="ed-icon" data-icon=${name} viewBox="0 0 16 16" width="16" height="16" aria-hidden="true" focusable="false">
    <path d=${shapes[name] ?? shapes.text} />
  </svg>`;
