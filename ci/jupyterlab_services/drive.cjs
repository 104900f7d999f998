// Uses a Jupyter server as VS Code does, through the same library with the same settings.
//
// Run as `node drive.cjs NODE_MODULES URL`, with the token in the variable TOKEN. Each line of standard input is a
// command, {"id", "name", "arguments"}; each is answered by a line {"id", "result"} or {"id", "error"}, whenever it is
// done: an interrupt does not wait for the cell.
'use strict';

const { createRequire } = require('node:module');
const path = require('node:path');
const readline = require('node:readline');

const [, , modules, baseUrl] = process.argv;
const load = createRequire(path.join(modules, 'of-the-lock-file.cjs'));
const fetch = load('node-fetch');
const WebSocket = load('ws');
// Only answers go to standard output.
console.log = console.debug = console.info = console.error;
const services = load('@jupyterlab/services');

const TOKEN = process.env.TOKEN ?? '';

// As in vscode-jupyter: jupyterUtils.ts and jupyterRequestCreator.node.ts.
class AuthorizedWebSocket extends WebSocket {
  constructor(url, protocols) {
    super(url, protocols, { headers: TOKEN ? { Authorization: `token ${TOKEN}` } : {} });
  }
}

class AuthorizedRequest extends fetch.Request {
  constructor(input, init) {
    super(input, init);
    if (TOKEN) this.headers.append('Authorization', `token ${TOKEN}`);
    this.headers.set('Content-Type', 'application/json');
    const append = this.headers.append.bind(this.headers);
    this.headers.append = (name, value) => {
      if (name.toLowerCase() !== 'authorization') append(name, value);
    };
  }
}

const serverSettings = services.ServerConnection.makeSettings({
  baseUrl,
  appUrl: '',
  wsUrl: baseUrl.replace('http', 'ws'),
  token: TOKEN,
  appendToken: TOKEN !== '',
  init: { cache: 'no-store', credentials: 'same-origin' },
  fetch: fetch.default,
  Headers: fetch.Headers,
  Request: AuthorizedRequest,
  WebSocket: AuthorizedWebSocket
});
const kernelSpecs = new services.KernelSpecManager({ serverSettings });
const kernels = new services.KernelManager({ serverSettings });
const sessions = new services.SessionManager({ serverSettings, kernelManager: kernels });
let session;
let latest;
let losses = 0;

// Comms by their target, as ipywidgets' manager keeps them: an echo of what the kernel sent with them.
const received = [];

const sizeOf = buffer => buffer.byteLength;

function follow({ kernel }) {
  kernel.connectionStatusChanged.connect((_, status) => {
    losses += status === 'connecting';
  });
  kernel.registerCommTarget('probe', (comm, opened) => {
    received.push({ type: 'open', buffers: (opened.buffers ?? []).map(sizeOf) });
    comm.onMsg = message => {
      received.push({
        type: 'message',
        data: message.content.data,
        buffers: (message.buffers ?? []).map(sizeOf)
      });
    };
    commands.comm = comm;
  });
}

async function untilIdle() {
  const { kernel } = session;
  await new Promise(resolve => {
    const check = () => kernel.status === 'idle' && resolve();
    kernel.statusChanged.connect(check);
    check();
  });
}

const commands = {
  async kernelspecs() {
    await sessions.ready;
    await kernelSpecs.refreshSpecs();
    return { default: kernelSpecs.specs.default, names: Object.keys(kernelSpecs.specs.kernelspecs) };
  },

  // VS Code's list of kernels to attach to.
  async running() {
    const models = await services.KernelAPI.listRunning(serverSettings);
    await sessions.refreshRunning();
    return { kernels: models.map(model => model.id), sessions: [...sessions.running()].length };
  },

  async start({ name }) {
    const options = { path: `a-${process.pid}.ipynb`, name: `a-${process.pid}`, type: 'notebook', kernel: { name } };
    session = await sessions.startNew(options, { kernelConnectionOptions: { handleComms: true } });
    follow(session);
    await untilIdle();
    return session.kernel.id;
  },

  // A kernel that runs, of VS Code's list "Select a running kernel".
  async attach({ id }) {
    const [model] = (await services.KernelAPI.listRunning(serverSettings)).filter(each => each.id === id);
    session = { kernel: kernels.connectTo({ model, handleComms: true }) };
    follow(session);
    await session.kernel.info;
    return session.kernel.id;
  },

  async execute({ code, answer }) {
    const future = session.kernel.requestExecute({ code, allow_stdin: answer !== undefined });
    const result = { text: '', error: '', data: [] };
    latest = result;
    future.onIOPub = ({ header, content }) => {
      if (header.msg_type === 'stream') result.text += content.text;
      if (header.msg_type === 'error') result.error = content.ename;
      if (content.data) {
        result.data.push(Object.fromEntries(Object.entries(content.data).map(([type, data]) => [type, data.length])));
      }
    };
    future.onStdin = message => {
      if (message.header.msg_type === 'input_request') {
        session.kernel.sendInputReply({ status: 'ok', value: answer }, message.header);
      }
    };
    result.status = (await future.done).content.status;
    return result;
  },

  // A buffer of a widget, such as a file of FileUpload.
  async sendBuffer({ size }) {
    await commands.comm.send({ size }, {}, [new Uint8Array(size).fill(255).buffer]).done;
    return received;
  },

  async received() {
    return received;
  },

  async complete({ code }) {
    return (await session.kernel.requestComplete({ code, cursor_pos: code.length })).content.matches;
  },

  async debug() {
    const reply = await session.kernel.requestDebug({ seq: 1, type: 'request', command: 'debugInfo' }).done;
    return reply.content.success;
  },

  async interrupt() {
    await session.kernel.interrupt();
  },

  async restart() {
    await session.kernel.restart();
    await untilIdle();
  },

  // The text that the latest cell has printed so far.
  async output() {
    return latest.text;
  },

  // How often the connection has been lost so far.
  async losses() {
    return losses;
  },

  async shutdown() {
    await (session.shutdown ? session.shutdown() : session.kernel.shutdown());
  }
};

readline
  .createInterface({ input: process.stdin })
  .on('line', async line => {
    const { id, name, arguments: given } = JSON.parse(line);
    let answer;
    try {
      answer = { id, result: (await commands[name](given)) ?? null };
    } catch (error) {
      answer = { id, error: String(error.message) };
    }
    process.stdout.write(`${JSON.stringify(answer)}\n`);
  })
  .on('close', () => process.exit(0));
