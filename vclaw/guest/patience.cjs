// Loaded into OpenClaw's node (by NODE_OPTIONS) where the guest is emulated, and only there.
//
// OpenClaw gives the worker that keeps its state lease five seconds to load, which is plenty for
// a processor and too little for an emulated one: four starts of five ended with "state lease
// heartbeat did not become ready". The limit cannot be set, so the timer that measures it gets
// more time here. Every other timer is left alone.
'use strict';

const LIMIT_MS = 5000;
const PATIENCE_MS = 120000;
const OWNER = /state-lease-heartbeat/;

const plain = globalThis.setTimeout;

function setTimeout(callback, delay, ...rest) {
  const ofLease = delay > 1000 && delay <= LIMIT_MS && OWNER.test(new Error().stack);
  return plain(callback, ofLease ? PATIENCE_MS : delay, ...rest);
}

// util.promisify(setTimeout) and the like look at the function's own properties.
globalThis.setTimeout = Object.defineProperties(
  setTimeout,
  Object.getOwnPropertyDescriptors(plain),
);
