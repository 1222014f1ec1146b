// Short messages with something to do about them.

import { toast, toastError } from '../components/toast.js';

/** How long such a message stays, in milliseconds: time to read it and to reach the button with the keyboard. */
const STAYS = 12000;

/** Shows `text` with a button; what `act` throws is shown in its place. Gives back how to take the message away. */
export const offer = (text, label, act) =>
  toast(text, { level: 'success', label, stay: STAYS, action: () => Promise.resolve(act()).catch(toastError) });
