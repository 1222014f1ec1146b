// Runs before every control page: keeps what must not happen.
window.reported = [];
document.addEventListener('securitypolicyviolation', (event) =>
  window.reported.push(`policy: ${event.effectiveDirective} ${event.blockedURI} ${event.sourceFile}:${event.lineNumber} ${event.sample}`));
for (const name of ['alert', 'confirm', 'prompt', 'open']) window[name] = (...said) => { window.reported.push(`${name}: ${said}`); };
