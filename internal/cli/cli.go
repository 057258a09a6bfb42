package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	stdlog "log"
	"log/slog"
	"os"
	"os/signal"
	"runtime/debug"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"golang.org/x/term"

	"tidemark/internal/console"
	"tidemark/internal/credentials"
	"tidemark/internal/logbook"
	"tidemark/internal/metrics"
	"tidemark/internal/weblog"
	"tidemark/pkg/mtree/exit"
)

// stopGrace is how long an orderly stop may take, so that a program ends within the
// 5 s that docs/cli.md promises. A harder end loses nothing.
const stopGrace = 4500 * time.Millisecond

// Command describes one of the three programs.
type Command struct {
	Name    string   // "watch": installed as tidemark-watch, environment TIDEMARK_WATCH_…
	Args    []string // names of the positional arguments; also read from the environment
	Many    bool     // the first of two arguments may be given several times
	Short   string
	Long    string
	Example string
	Flags   func(*pflag.FlagSet)

	// Alone reports, by the options and the number of given arguments, whether
	// the command takes the last argument only. nil: never.
	Alone func(given int) bool
	Run   func(context.Context, *Env) error

	// Quiet reports whether only warnings and errors are logged, unless --log-level says something
	// else. nil: never.
	Quiet func() bool

	// Hangup does what SIGHUP asks for besides reading files again, and says in a few words what that is.
	// nil: nothing.
	Hangup func() string

	// Status writes an object of JSON that says how the program stands: SIGUSR1 puts it into the log.
	// nil: there is nothing to say.
	Status func(*Env, io.Writer) error

	// What --metrics publishes. All may be nil.
	Stats  metrics.StatsFunc
	States metrics.StatesFunc
	Disk   func(*Env) string // returns a path on the file system that the program fills; nil: it writes to none

	// Page writes a page of HTML for people, by several goroutines at once. nil: there is one that names the program.
	Page func(*Env, io.Writer) error
}

// Env is the surroundings of a program.
type Env struct {
	Args   map[string]string // positional arguments by name
	More   []string          // with Command.Many: the first argument from its second value on
	Stdout io.Writer
	Log    *slog.Logger
	Flags  *pflag.FlagSet

	line    *console.StatusLine // nil: stderr is not a terminal
	asked   *slog.Logger        // what a signal asks for is said at any --log-level, and each time
	results *Results            // Results was called
	notices notices
	ready   atomic.Bool // Ready was called

	mu    sync.Mutex
	files []credentials.Rereader // what SIGHUP reads again
}

// Ready reports to systemd that the program does its job now.
func (e *Env) Ready() {
	e.ready.Store(true)
	e.notices.tell(daemon.SdNotifyReady)
}

// Notify reports to systemd in one line what the program is doing.
func (e *Env) Notify(text string) {
	e.notices.tell(statusNotice + strings.ReplaceAll(text, "\n", " "))
}

// Progress shows one line of ASCII text in the place of the line before; "" removes it.
// It shows nothing if stderr is not a terminal.
func (e *Env) Progress(text string) {
	if e.line != nil {
		e.line.Show(text)
	}
}

// Columns returns how long a line of Progress may be now; 0 where it is not shown.
func (e *Env) Columns() int {
	if e.line == nil {
		return 0
	}
	return e.line.Columns()
}

// HasTerminal reports whether Progress is shown.
func (e *Env) HasTerminal() bool { return e.line != nil }

// Main runs the command and ends the process with the exit code of docs/cli.md.
// A panic, and the SIGABRT of systemd's watchdog, end the process by a signal:
// otherwise Go would exit with 2, which stands for wrong options, and systemd would
// not start the program again.
func Main(c Command) {
	debug.SetTraceback("crash")
	os.Exit(int(run(c, os.Args[1:], os.Stdout, os.Stderr)))
}

// run is Main without the end of the process.
func run(c Command, args []string, stdout, stderr io.Writer) exit.Code {
	common := commonFlags{}
	out, end := console.NewErrorOutput(stderr, func(n int, file *os.File) []byte { return console.LostLog(common.logFormat, file, n) })
	defer end()
	code := exit.Done
	root := &cobra.Command{
		Use:           "tidemark-" + c.Name + " [options] " + argumentsText(c),
		Short:         c.Short,
		Long:          c.Long,
		Example:       c.Example,
		Version:       version,
		SilenceUsage:  true,
		SilenceErrors: true,
		Args:          cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := errors.Join(noneEmpty(cmd.Flags()), fromEnvironment(c, cmd.Flags())); err != nil {
				return err
			}
			named, more, err := positional(c, args)
			if err != nil {
				return err
			}
			code, err = start(c, common, &Env{Args: named, More: more, Stdout: stdout, Flags: cmd.Flags()}, out)
			return err
		},
	}
	root.SetVersionTemplate(versionText(c.Name))
	root.SetArgs(args)
	help := &Results{w: stdout}
	root.SetOut(unfailing{help})
	root.SetErr(out)
	root.DisableFlagsInUseLine = true
	root.SetUsageFunc(func(cmd *cobra.Command) error { return usage(cmd, unfailing{help}) })
	root.Flags().SortFlags = false
	c.Flags(root.Flags())
	common.define(root.Flags())
	offerCompletions(root, args)
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error {
		return exit.With(exit.Usage, err, "see --help")
	})
	err := root.Execute()
	err = errors.Join(err, help.lost(err)) // guard: TestHelpThatIsLost
	if err != nil {
		if text := logbook.Printable(inUnit(err).Error()); text != "" { // guard (always): TestWhatIsTold
			console.Last(common.logFormat, out, "tidemark-"+c.Name, text)
		}
		return max(code, exit.Of(err))
	}
	return code
}

// argumentsText shows the arguments in --help.
func argumentsText(c Command) string {
	text := strings.Join(c.Args, " ")
	if c.Many {
		text = strings.Replace(text, " ", "... ", 1)
	}
	return text
}

// usage prints the part of --help below the description. pflag puts
// "[=true|false]" after every switch; blanks in its place keep the columns.
func usage(cmd *cobra.Command, w io.Writer) error {
	const noise = "[=true|false]"
	options := strings.ReplaceAll(cmd.Flags().FlagUsages(), noise, strings.Repeat(" ", len(noise)))
	_, err := fmt.Fprintf(w, "Usage:\n  %s\n\nExamples:\n%s\n\nOptions (each also as %s in the environment):\n%s",
		cmd.UseLine(), cmd.Example, strings.Replace(EnvName(strings.TrimPrefix(cmd.Name(), "tidemark-"), "x"), "_X", "_…", 1), options)
	return err
}

// start wires signals, logs and metrics around the program's one call.
func start(c Command, common commonFlags, env *Env, stderr console.ErrorOutput) (exit.Code, error) {
	env.line = console.NewStatusLine(stderr)
	if c.Quiet != nil && c.Quiet() && !env.Flags.Changed("log-level") { // guard (without !env.Flags): TestQuiet
		common.logLevel = "warn"
	}
	handler, err := console.NewHandler(common.logFormat, common.logLevel, stderr, env.line)
	if err != nil {
		return exit.Usage, exit.With(exit.Usage, err, "see --help")
	}
	asked := handler
	if !handler.Enabled(context.Background(), slog.LevelInfo) {
		asked, _ = console.NewHandler(common.logFormat, "info", stderr, env.line)
	}
	book := logbook.New(handler)
	defer book.Close()
	log := slog.New(book)
	env.Log, env.asked = log, slog.New(asked)
	stdlog.SetFlags(0)
	stdlog.SetOutput(weblog.NewWriter(log)) // net/http's clients have no other log
	if unknown := unknownVariables(c, env.Flags, os.Environ()); len(unknown) > 0 {
		log.Warn("unknown variables in the environment: ignored", "names", strings.Join(unknown, " "), "remedy", "see --help for the options")
	}
	ctx, stop := withSignals(context.Background(), log)
	defer stop()
	closeServers, err := startServers(c, common, env)
	if err != nil {
		return exit.Of(err), err
	}
	defer closeServers()
	go watchdog(ctx)
	defer onRequests(&c, env, !term.IsTerminal(int(os.Stdin.Fd())))()
	err = c.Run(ctx, env)
	err = errors.Join(err, env.results.lost(err)) // guard: TestResultsThatAreLost
	env.notices.tell(daemon.SdNotifyStopping)
	env.notices.end()
	var signalled Signalled
	if err != nil && errors.As(context.Cause(ctx), &signalled) && errors.Is(err, context.Canceled) {
		return signalled.code(), nil
	}
	return exit.Done, err
}

// startServers answers on the addresses of --metrics and --pprof until closeAll is called.
func startServers(c Command, common commonFlags, env *Env) (closeAll func(), err error) {
	var ends []func()
	closeAll = func() {
		for _, end := range ends {
			end()
		}
	}
	if common.metrics != "" {
		of := metrics.Program{Name: c.Name, Version: version, Stats: c.Stats, States: c.States}
		if c.Disk != nil {
			of.Disk = c.Disk(env)
		}
		if c.Page != nil {
			of.Page = func(w io.Writer) error { return c.Page(env, w) }
		}
		end, err := metrics.Serve(env.Log, common.metrics, of)
		if err != nil {
			return nil, err
		}
		ends = append(ends, end)
	}
	if common.pprof != "" {
		end, err := metrics.ServePprof(env.Log, common.pprof)
		if err != nil {
			closeAll()
			return nil, err
		}
		ends = append(ends, end)
	}
	return closeAll, nil
}

// Signalled is the cause of a context that a signal ended.
type Signalled struct{ Signal os.Signal }

// Error names the signal.
func (s Signalled) Error() string { return "stopped by " + s.Signal.String() }

// Is makes it a context.Canceled: net/http returns the cause of a context that ended in place of
// its error, and a pass that is stopped has not failed.
func (s Signalled) Is(target error) bool { return target == context.Canceled }

// code returns the exit code for the signal.
func (s Signalled) code() exit.Code {
	if s.Signal == os.Interrupt {
		return exit.Interrupted
	}
	return exit.Terminated
}

// withSignals returns a context that ends at SIGINT or SIGTERM. A second signal ends
// the process at once; so does the end of stopGrace.
func withSignals(parent context.Context, log *slog.Logger) (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(parent)
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	done := make(chan struct{})
	go func() {
		var first os.Signal
		select {
		case first = <-signals:
			cancel(Signalled{first})
		case <-done:
			return
		}
		select {
		case <-signals:
		case <-time.After(stopGrace):
			log.Error("did not stop in time: ending at once", "after", stopGrace,
				"remedy", "none is needed: the next start goes on; if it comes again, look whether a disk or a command of --exec hangs")
		case <-done:
			return
		}
		os.Exit(int(Signalled{first}.code()))
	}()
	return ctx, func() { signal.Stop(signals); close(done) }
}

// watchdog sends what systemd expects with WatchdogSec=, if it is set.
func watchdog(ctx context.Context) {
	interval, err := daemon.SdWatchdogEnabled(false)
	if err != nil || interval == 0 {
		return
	}
	tick := time.NewTicker(interval / 2)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			_, _ = daemon.SdNotify(false, daemon.SdNotifyWatchdog)
		}
	}
}
