// Logs and topology are two looks at what the program does.

import { html } from '../../vendor/ui.js';
import { Icon } from './icon.js';

const strings = {
  label: 'Logs and topology',
  pages: [['/logs', 'Lines', 'logs'], ['/topology', 'Topology', 'topology']],
};

export const Subnav = () => html`<nav class="subnav" aria-label=${strings.label}>
  ${strings.pages.map(([href, text, icon]) => html`<a key=${href} href=${href} aria-current=${location.pathname === href ? 'page' : undefined}><${Icon} name=${icon} />${text}</a>`)}
</nav>`;
