/** `viaduct vm completion`: what the shell needs to complete commands and machines' names. */
import { parseChoice, parseWords } from './options.js';

/** Commands whose words are not machines' names, or only some of them. */
const script = (commands: readonly string[]): string => `_viaduct() {
  local word=\${COMP_WORDS[COMP_CWORD]}
  COMPREPLY=()
  if [[ $COMP_CWORD == 1 ]]; then
    mapfile -t COMPREPLY < <(compgen -W 'devices exec run vm' -- "$word")
  elif [[ \${COMP_WORDS[1]} == vm && $COMP_CWORD == 2 ]]; then
    mapfile -t COMPREPLY < <(compgen -W '${commands.join(' ')}' -- "$word")
  elif [[ \${COMP_WORDS[1]} == vm && $COMP_CWORD == 3 ]]; then
    mapfile -t COMPREPLY < <(compgen -W "$(viaduct vm list --names 2>/dev/null)" -- "$word")
  fi
}
complete -o default -F _viaduct viaduct
`;

export function completion(args: readonly string[], commands: readonly string[]): number {
  const { positionals } = parseWords(args, {}, 'the name of a shell: bash', 1);
  parseChoice('the shell', positionals[0], ['bash']);
  process.stdout.write(script(commands));
  return 0;
}
