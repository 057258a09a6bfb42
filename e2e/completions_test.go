package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// terminal begins the scripts for zsh: it runs a shell on a terminal, and presses keys there.
const terminal = `
zmodload zsh/zpty
said() { # until the marker comes, which no line that is typed has
	local line text=''
	while zpty -r shell line; do
		text+=$line
		[[ $text == *$1* ]] && break
	done
	print -r -- "$text"
}
begin() { # SHELL SETUP
	zpty shell "$1"
	zpty -w shell "$2; cd $DIR; echo begun''now"
	said begunnow >/dev/null
}
press() { # LINE KEY
	zpty -w -n shell "$1$2"
	zpty -w -n shell $'\x02'
	zpty -w shell "echo ended''now"
	said endednow
}
`

// The shells, where each finds what is installed, and how it is asked what it offers after the line $1, as
// when somebody presses Tab.
var shells = []struct{ name, file, script string }{
	{"bash", "bash-completion/completions/tidemark-", terminal + `
begin 'bash --norc -i' "PS1=; . /usr/share/bash-completion/bash_completion; bind 'set completion-query-items 0'; bind 'set page-completions off'; bind 'set enable-bracketed-paste off'; bind '\"\C-t\": possible-completions'; bind '\"\C-b\": kill-whole-line'"
press "$1" $'\x14'
`},
	{"fish", "fish/vendor_completions.d/tidemark-", `complete --do-complete "$argv[1]"`},
	{"zsh", "zsh/site-functions/_tidemark-", terminal + `
begin 'zsh -f -i' "PS1= fpath=($FUNCTIONS \$fpath); autoload -U compinit && compinit -u -d $HOME/dump; LISTMAX=0; bindkey '^T' list-choices; bindkey '^B' kill-whole-line"
press "$1" $'\x14'
`},
}

// Completions had never been tried in a shell: no option offered its values, and every argument offered files.
func TestCompletions(t *testing.T) {
	dir := t.TempDir()
	share, here := filepath.Join(dir, "share"), filepath.Join(dir, "here")
	require.NoError(t, os.MkdirAll(filepath.Join(here, "atree"), 0o755))
	require.NoError(t, os.MkdirAll(filepath.Join(here, "another"), 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(here, "afile"), nil, 0o600))
	for _, s := range shells {
		for _, program := range []string{"watch", "serve", "mirror"} {
			script, err := exec.Command("tidemark-"+program, "completion", s.name).Output()
			require.NoError(t, err)
			file := filepath.Join(share, s.file+program)
			if s.name == "fish" {
				file += ".fish"
			}
			require.NoError(t, os.MkdirAll(filepath.Dir(file), 0o755))
			require.NoError(t, os.WriteFile(file, script, 0o600))
		}
	}
	for _, c := range []struct {
		line       string
		want, none []string // none: that it must not offer
	}{
		{"tidemark-watch --backend ", []string{"auto", "fanotify", "inotify", "none"}, []string{"atree", "afile"}},
		{"tidemark-mirror --durability b", []string{"batch"}, []string{"file", "afile"}},
		{"tidemark-serve --http ", []string{"fast", "std"}, []string{"atree", "afile"}},
		{"tidemark-mirror --log-l", []string{"--log-level"}, []string{"--log-format"}},
		{"tidemark-watch a", []string{"atree", "another"}, []string{"afile"}},
		{"tidemark-mirror --state-dir a", []string{"atree", "another"}, []string{"afile"}},
		{"tidemark-serve --token-file a", []string{"atree", "another", "afile"}, nil},
		{"tidemark-watch --exclude a", nil, []string{"atree", "another", "afile"}},
	} {
		for _, s := range shells {
			t.Run(s.name+" "+c.line, func(t *testing.T) {
				t.Parallel()
				said := ask(t, s.name, s.script, c.line, share, here)
				for _, word := range c.want {
					require.True(t, slices.Contains(said, word), "%s after %q: %q, without %s", s.name, c.line, said, word)
				}
				for _, word := range c.none {
					if s.name == "fish" && slices.Contains(c.want, "atree") {
						continue // cobra's script for fish offers files besides directories
					}
					require.False(t, slices.Contains(said, word), "%s after %q: %q, with %s", s.name, c.line, said, word)
				}
			})
		}
	}
}

// ask returns the words that a shell offers after line, in the directory here.
func ask(t *testing.T, shell, script, line, share, here string) []string {
	home := t.TempDir()
	file := filepath.Join(home, "script")
	require.NoError(t, os.WriteFile(file, []byte(script), 0o600))
	cmd := exec.CommandContext(t.Context(), "zsh", "-f", file, line)
	if shell == "fish" {
		cmd = exec.CommandContext(t.Context(), shell, file, line)
	}
	cmd.Dir = here
	cmd.Env = append(os.Environ(), "HOME="+home, "XDG_DATA_HOME="+share, "XDG_DATA_DIRS="+share, "BASH_COMPLETION_USER_DIR="+share+"/bash-completion",
		"FUNCTIONS="+share+"/zsh/site-functions", "DIR="+here, "TERM=dumb", "HISTFILE=/dev/null") // what runs on at the end must write nothing
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
	return strings.FieldsFunc(string(out), func(r rune) bool { return r <= ' ' || r == '/' })
}
