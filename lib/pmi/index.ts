/** PMI-1: how a rank and its launcher meet before there is any channel between ranks. */
export { PmiClient } from './client.js';
export { PmiError } from './errors.js';
export { isPmiOffered } from './offer.js';
export { PmiServer } from './server.js';
export { onLines } from './wire.js';
