package cli

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// What shells are offered: the values of an option, and options with what --help says of them.
func TestWhatShellsAreOffered(t *testing.T) {
	var p probe
	_, out := p.run("__complete", "--log-format", "")
	require.Regexp(t, `^auto\ntext\njson\n:4\n`, out)
	_, out = p.run("__complete", "--log-f")
	require.Regexp(t, `^--log-format\tformat of the log on stderr: auto\|text\|json\n`, out)
	_, out = p.run("__complete", "--include", "")
	require.Regexp(t, `^:4\n`, out, "no file")
	_, out = p.run("__complete", "")
	require.Regexp(t, `^:16\n`, out, "directories")
	_, out = p.run("--help")
	require.Contains(t, out, "--log-format auto|text|json")
}
