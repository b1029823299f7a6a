/** The matrix where all memory is mapped by both ranks. Not of small messages: their pages are not theirs alone. */
import { testPath } from './path.js';

testPath('direct', 4, ['16384', '1000000']);
