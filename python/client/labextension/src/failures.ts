// The panel of starts that failed: the reason in full, the end of the log, and where to read what to do.

import { Widget } from '@lumino/widgets';
import type { Step } from './api';

const MOST_FAILURES = 20;

export class FailuresPanel extends Widget {
  constructor() {
    super();
    this.id = 'gateway-provisioners-failures';
    this.addClass('gp-Failures');
    this.title.label = 'Failed Starts';
    this.title.closable = true;
    this.node.tabIndex = -1;
    this.node.setAttribute('role', 'log');
    this.node.setAttribute('aria-label', 'Kernels that did not start');
  }

  /** Add a failure, before the others; the oldest of many is dropped. */
  add(failure: Step): void {
    this.node.prepend(articleOf(failure, new Date()));
    while (this.node.childElementCount > MOST_FAILURES) {
      this.node.lastElementChild?.remove();
    }
    this.node.scrollTop = 0;
  }

  protected override onActivateRequest(): void {
    this.node.focus();
  }
}

// All of it is text: what images, kernels and gateways say must not become markup.
function articleOf(failure: Step, time: Date): HTMLElement {
  const article = document.createElement('article');
  const heading = added(article, 'h3', `${failure.name} did not start`);
  added(heading, 'time', time.toLocaleTimeString()).dateTime = time.toISOString();
  added(article, 'p', failure.message);
  if (failure.log) {
    added(article, 'h4', 'The end of its log');
    added(article, 'pre', failure.log);
  }
  const footer = added(article, 'footer', failure.reason);
  if (failure.help) {
    const link = added(footer, 'a', 'What to do');
    link.href = failure.help;
    link.target = '_blank';
    link.rel = 'noopener noreferrer';
  }
  return article;
}

function added<Tag extends keyof HTMLElementTagNameMap>(
  parent: HTMLElement,
  tag: Tag,
  text: string
): HTMLElementTagNameMap[Tag] {
  const element = document.createElement(tag);
  element.textContent = text;
  parent.append(element);
  return element;
}
