/** PMI-1: how a rank and its launcher meet before there is any channel between ranks. */
export { isPmiOffered, PmiClient } from './client.js';
export { PmiError } from './errors.js';
export { PmiServer } from './server.js';
export { onLines } from './wire.js';
