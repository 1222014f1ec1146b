// The reactive layer of the pages: preact with hooks and signals, and htm for markup in plain JavaScript.
export { Component, Fragment, createContext, createRef, h, render } from 'preact';
export { useCallback, useContext, useEffect, useId, useLayoutEffect, useMemo, useReducer, useRef, useState } from 'preact/hooks';
export { batch, computed, effect, signal, untracked, useComputed, useSignal, useSignalEffect } from '@preact/signals';
import { h } from 'preact';
import htm from 'htm';

export const html = htm.bind(h);
