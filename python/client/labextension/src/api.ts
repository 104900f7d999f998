// The Jupyter server's HTTP API for gateway kernels: all that this extension asks, and what it believes of the answers.

import { URLExt } from '@jupyterlab/coreutils';
import { ServerConnection } from '@jupyterlab/services';
import { serverSentEvents } from './events';
import { line, link, plain } from './text';

const MOST_KERNELS = 1000;
const MOST_LOG_CHARACTERS = 20_000;

/** A step of a kernel's start. */
export interface Step {
  /** The id of the kernel, or of its start, at this Jupyter server. */
  readonly kernel: string;
  /** The kernelspec's name for people. */
  readonly name: string;
  readonly message: string;
  /** The age of this step; undefined if unknown. */
  readonly seconds: number | undefined;
  readonly ready: boolean;
  readonly failed: boolean;
  /** The gateway's word for the cause of a failure, such as `ImagePull`. */
  readonly reason: string;
  /** The last lines of the kernel's log, if its start failed. */
  readonly log: string;
  /** The address of a page that says what to do, or "". */
  readonly help: string;
}

/** What a kernel uses: bytes, seconds of CPU time, cores; undefined if unknown or without a limit. */
export interface Usage {
  readonly memory: number | undefined;
  readonly memoryLimit: number | undefined;
  readonly cpu: number | undefined;
  readonly cpuLimit: number | undefined;
}

/** A gateway's kernel that this Jupyter server uses. */
export interface Kernel {
  readonly gateway: string;
  readonly node: string;
  readonly image: string;
  readonly usage: Usage | undefined;
}

/** A kernel that runs at a gateway, of this Jupyter server or not. */
export interface RunningKernel {
  readonly gateway: string;
  readonly id: string;
  readonly name: string;
  readonly state: string;
  readonly lastActivity: Date | undefined;
  readonly connections: number;
  /** Its id at this Jupyter server, or "". */
  readonly localId: string;
  readonly attachable: boolean;
}

/** The answer of a server without the extension of this package, or about a kernel that is not a gateway's. */
export class NotFound extends Error {}

export class GatewayApi {
  constructor(private readonly _settings: ServerConnection.ISettings) {}

  /** Return a kernel of this Jupyter server; throws NotFound for a local one. */
  async kernel(id: string): Promise<Kernel> {
    const model = record(await this._json('GET', `kernels/${encodeURIComponent(id)}`));
    return {
      gateway: line(record(model['gateway'])['name'], 100),
      node: line(model['node'], 200),
      image: line(model['image'], 300),
      usage: model['usage'] ? usageOf(record(model['usage'])) : undefined
    };
  }

  /** Return the kernels that run at the gateways of this Jupyter server. */
  async running(): Promise<RunningKernel[]> {
    const models: unknown = await this._json('GET', 'running');
    return Array.isArray(models)
      ? models.slice(0, MOST_KERNELS).map(each => runningKernel(record(each)))
      : [];
  }

  /** Make a kernel that runs at a gateway one of this Jupyter server; return its id here. */
  async attach(kernel: RunningKernel): Promise<string> {
    const path = `running/${encodeURIComponent(kernel.id)}/attach`;
    const id = record(await this._json('POST', path, {}))['id'];
    if (typeof id !== 'string' || !id) {
      throw new Error('The Jupyter server did not say under which id it has attached the kernel.');
    }
    return id;
  }

  /** Shut down a kernel that runs at a gateway. */
  async shutDown(kernel: RunningKernel): Promise<void> {
    await this._request('DELETE', `running/${encodeURIComponent(kernel.id)}`);
  }

  /**
   * Follow the starts of all kernels of this Jupyter server until it ends the stream, or the signal is given.
   *
   * @param after - the number of the last step that is known; the steps after it come first.
   */
  async *starts(after: number | undefined, signal: AbortSignal): AsyncGenerator<[number, Step]> {
    const query = after === undefined ? '' : `?after=${after}`;
    const response = await this._request('GET', `starts${query}`, { signal });
    if (response.body) {
      for await (const { id, data } of serverSentEvents(response.body)) {
        const step = record(JSON.parse(data));
        yield [Number.parseInt(id, 10) || 0, stepOf(step)];
      }
    }
  }

  private async _json(method: string, path: string, body?: object): Promise<unknown> {
    const init = body === undefined ? {} : { body: JSON.stringify(body) };
    const response = await this._request(method, path, init);
    return response.json() as Promise<unknown>;
  }

  private async _request(method: string, path: string, init: RequestInit = {}): Promise<Response> {
    const url = URLExt.join(this._settings.baseUrl, 'gateway-provisioners', path);
    const response = await ServerConnection.makeRequest(url, { ...init, method }, this._settings);
    if (response.status === 404 && method === 'GET') {
      throw new NotFound();
    }
    if (!response.ok) {
      throw new Error(await refusal(response));
    }
    return response;
  }
}

async function refusal(response: Response): Promise<string> {
  const text = await response.text();
  try {
    return plain(record(JSON.parse(text))['message'], 2000) || `HTTP ${response.status}`;
  } catch {
    return `HTTP ${response.status}`;
  }
}

function stepOf(model: Record<string, unknown>): Step {
  return {
    kernel: line(model['id'], 200),
    name: line(model['display_name'], 60) || line(model['name'], 60) || 'The kernel',
    message: plain(model['message'], 4000),
    seconds: number(model['seconds']),
    ready: model['ready'] === true,
    failed: model['failed'] === true,
    reason: line(model['reason'], 60),
    log: logOf(model['log']),
    help: link(model['help'])
  };
}

function logOf(value: unknown): string {
  const text = Array.isArray(value) ? value.slice(-200).map(String).join('\n') : value;
  // Its end says why.
  return typeof text === 'string'
    ? plain(text.slice(-MOST_LOG_CHARACTERS), MOST_LOG_CHARACTERS).trim()
    : '';
}

function usageOf(model: Record<string, unknown>): Usage {
  return {
    memory: number(model['memory']),
    memoryLimit: number(model['memory_limit']),
    cpu: number(model['cpu']),
    cpuLimit: number(model['cpu_limit'])
  };
}

function runningKernel(model: Record<string, unknown>): RunningKernel {
  const lastActivity = new Date(line(model['last_activity'], 40));
  return {
    gateway: line(model['gateway'], 100),
    id: typeof model['remote_id'] === 'string' ? model['remote_id'] : '',
    name: line(model['display_name'], 60) || line(model['name'], 60),
    state: line(model['state'], 20),
    lastActivity: Number.isNaN(lastActivity.getTime()) ? undefined : lastActivity,
    connections: number(model['connections']) ?? 0,
    localId: typeof model['local_id'] === 'string' ? model['local_id'] : '',
    attachable: model['attachable'] === true
  };
}

function record(value: unknown): Record<string, unknown> {
  return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {};
}

function number(value: unknown): number | undefined {
  return typeof value === 'number' && Number.isFinite(value) && value >= 0 ? value : undefined;
}
