package metrics

import (
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"tidemark/pkg/mtree/exit"
)

// freeAddress returns an address where nobody listens.
func freeAddress(t *testing.T) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	return l.Addr().String()
}

// got returns the status, the header and the body of an answer.
func got(t *testing.T, url string) (int, http.Header, string) {
	response, err := http.Get(url)
	require.NoError(t, err)
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	return response.StatusCode, response.Header, string(text)
}

func TestMetrics(t *testing.T) {
	addr := freeAddress(t)
	log := slog.New(slog.DiscardHandler)
	of := Program{
		Name: "probe", Version: "1.2",
		Stats: func(yield func(name, help string, value int64)) { yield("batches_total", "Batches published.", 7) },
		States: func(yield func(name, help, now string, all []string)) {
			yield("tree_state", "State.", "good", []string{"good", "bad"})
		},
		Disk: t.TempDir(),
	}
	closeMetrics, err := Serve(log, addr, of)
	require.NoError(t, err)
	defer closeMetrics()
	_, _, text := got(t, "http://"+addr+"/metrics")
	require.Contains(t, text, "# TYPE tidemark_probe_batches_total counter\ntidemark_probe_batches_total 7\n")
	require.Contains(t, text, "process_resident_memory_bytes")
	require.Contains(t, text, `tidemark_probe_tree_state{state="good"} 1`)
	require.Contains(t, text, `tidemark_probe_tree_state{state="bad"} 0`)
	require.Regexp(t, `tidemark_build_info\{goversion="go[^"]+",program="probe",version="1.2"\} 1`, text)
	require.Regexp(t, `(?m)^tidemark_probe_filesystem_avail_bytes [1-9]`, text)
	status, header, text := got(t, "http://"+addr+"/")
	require.Equal(t, 200, status)
	require.Contains(t, header.Get("Content-Security-Policy"), "default-src 'none'")
	require.Contains(t, text, `<a href="metrics">`)
	status, _, _ = got(t, "http://"+addr+"/debug/pprof/")
	require.Equal(t, 404, status, "who may read metrics may not profile the program")
	_, err = Serve(log, "nowhere", of)
	require.Equal(t, exit.Usage, exit.Of(err))
	_, err = Serve(log, addr, of)
	require.Equal(t, exit.Local, exit.Of(err), "in use")
}

// A page that cannot be made is an error, and what it was stands in the log only.
func TestPageOfMetrics(t *testing.T) {
	addr := freeAddress(t)
	fails := false
	closeMetrics, err := Serve(slog.New(slog.DiscardHandler), addr, Program{Name: "probe", Page: func(w io.Writer) error {
		if fails {
			return errors.New("no page")
		}
		_, err := io.WriteString(w, "<p>own</p>")
		return err
	}})
	require.NoError(t, err)
	defer closeMetrics()
	status, _, text := got(t, "http://"+addr+"/")
	require.Equal(t, 200, status)
	require.Equal(t, "<p>own</p>", text)
	_, _, text = got(t, "http://"+addr+"/metrics")
	require.NotContains(t, text, "filesystem", "it writes to none")
	fails = true
	status, _, text = got(t, "http://"+addr+"/")
	require.Equal(t, 500, status)
	require.NotContains(t, text, "no page", "the log says why")
}
