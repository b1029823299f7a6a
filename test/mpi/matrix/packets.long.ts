/** The matrix in packets. Of two ranks: where more processes share an address, sockets lose packets, and each costs a timeout. */
import { testPath } from './path.js';

testPath('packets', 2);
