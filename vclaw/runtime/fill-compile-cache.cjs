// Fills node's compile cache: starts the gateway, waits until it is ready and has come to rest,
// and stops it, for node writes the cache as it ends. Arguments: OpenClaw's script, its port, the
// folder for the cache. Exit status 0 where the gateway was ready and ended well.
'use strict';

const { spawn } = require('node:child_process');

const READY_MS = 240000;
const REST_MS = 5000;
const POLL_MS = 250;

const [script, port, cache] = process.argv.slice(2);
const gateway = spawn(process.execPath, [script, 'gateway', 'run'], {
  stdio: ['ignore', 'inherit', 'inherit'],
  env: { ...process.env, NODE_COMPILE_CACHE: cache },
});
gateway.on('exit', (status) => process.exit(status === 0 && ready ? 0 : 1));

const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
let ready = false;

async function isReady() {
  try {
    return (await fetch(`http://127.0.0.1:${port}/readyz`)).status === 200;
  } catch {
    return false; // it does not listen yet
  }
}

async function main() {
  for (let waited = 0; waited < READY_MS && !ready; waited += POLL_MS) {
    await pause(POLL_MS);
    ready = await isReady();
  }
  if (ready) await pause(REST_MS);
  gateway.kill('SIGTERM');
}

main();
