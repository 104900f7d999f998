// A toast for each start that takes its time: the step that it is at, in the gateway's words.

import { Notification } from '@jupyterlab/apputils';
import type { Step } from './api';
import { duration, line } from './text';

/** A start that ends sooner has no toast, which would only flicker. */
const SHOWN_AFTER = 1_000;
/** Without any step for this long, a start is not under way any longer: steps are repeated. */
const FORGOTTEN_AFTER = 60_000;
/** JupyterLab cuts longer messages. */
const MOST_CHARACTERS = 140;

interface Toast {
  step: Step;
  /** Of the notification; undefined before there is one, and "" when its user has closed it. */
  id: string | undefined;
  timer: number;
}

export class Toasts {
  constructor(private readonly _showFailure: () => void) {}

  /** Show a step of a start. */
  show(step: Step): void {
    const toast = this._toasts.get(step.kernel);
    if (step.ready || step.failed) {
      this._end(step.kernel);
      if (step.failed) {
        this._fail(step);
      }
      return;
    }
    if (toast === undefined) {
      const timer = window.setTimeout(() => {
        this._open(step.kernel);
      }, SHOWN_AFTER);
      this._toasts.set(step.kernel, { step, id: undefined, timer });
      return;
    }
    toast.step = step;
    if (toast.id !== undefined) {
      Notification.update({ id: toast.id, message: wordsOf(step) });
      this._forgetLater(toast);
    }
  }

  private _open(kernel: string): void {
    const toast = this._toasts.get(kernel);
    if (toast) {
      toast.id = Notification.emit(wordsOf(toast.step), 'in-progress', { autoClose: false });
      this._forgetLater(toast);
    }
  }

  private _forgetLater(toast: Toast): void {
    window.clearTimeout(toast.timer);
    toast.timer = window.setTimeout(() => {
      this._end(toast.step.kernel);
    }, FORGOTTEN_AFTER);
  }

  private _end(kernel: string): void {
    const toast = this._toasts.get(kernel);
    if (toast) {
      window.clearTimeout(toast.timer);
      this._toasts.delete(kernel);
      if (toast.id !== undefined) {
        Notification.dismiss(toast.id);
      }
    }
  }

  private _fail(step: Step): void {
    const message = shortened(`${step.name} did not start. ${line(step.message, 4000)}`);
    const action = { label: 'Details', callback: this._showFailure };
    // A kernel that is started again and again has one toast.
    Notification.dismiss(this._failures.get(step.name) ?? '');
    const id = Notification.error(message, { autoClose: false, actions: [action] });
    this._failures.set(step.name, id);
  }

  private readonly _toasts = new Map<string, Toast>();
  /** The notifications of failed starts, by the names of the kernels. */
  private readonly _failures = new Map<string, string>();
}

function wordsOf(step: Step): string {
  const age = step.seconds === undefined || step.seconds < 1 ? '' : ` (${duration(step.seconds)})`;
  return `${shortened(`${step.name}: ${line(step.message, 4000)}`, MOST_CHARACTERS - age.length)}${age}`;
}

function shortened(text: string, most = MOST_CHARACTERS): string {
  return text.length > most ? `${text.slice(0, most - 1)}…` : text;
}
