// Runs before a page's own scripts: notes tasks over 50 ms, and counts what event streams bring.

window.benchTasks = [];
new PerformanceObserver((list) => window.benchTasks.push(...list.getEntries().map((entry) => entry.duration)))
  .observe({ type: 'longtask', buffered: true });

window.benchHeard = 0;
const Plain = window.EventSource;
window.EventSource = class extends Plain {
  constructor(...given) {
    super(...given);
    this.addEventListener('message', () => { window.benchHeard += 1; });
  }
};
