/** The matrix where all memory is mapped by both ranks. */
import { testPath } from './path.js';

testPath('direct', 4);
