package cli

import (
	"errors"
	"fmt"
	"math"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/spf13/pflag"

	"tidemark/pkg/mtree/exit"
)

// commonFlags are the options that all three commands have.
type commonFlags struct {
	logFormat string
	logLevel  string
	metrics   string
	pprof     string
}

func (f *commonFlags) define(flags *pflag.FlagSet) {
	flags.StringVar(&f.logFormat, "log-format", "auto", "format of the log on stderr: `auto|text|json`")
	flags.StringVar(&f.logLevel, "log-level", "info", "least important level logged: `debug|info|warn|error`")
	flags.StringVar(&f.metrics, "metrics", "", "serve Prometheus metrics, and a page for people, on `ADDR`, e.g. 127.0.0.1:9177")
	flags.StringVar(&f.pprof, "pprof", "", "serve Go's profiles on `ADDR`, an address of its own")
}

// EnvName returns the environment variable that stands for an option or an
// argument: EnvName("watch", "log-level") is TIDEMARK_WATCH_LOG_LEVEL.
func EnvName(command, option string) string {
	return "TIDEMARK_" + strings.ToUpper(command+"_"+strings.ReplaceAll(option, "-", "_"))
}

// fromEnvironment sets every option that the command line did not give, from its
// environment variable. Repeatable options take several values separated by white
// space.
func fromEnvironment(c Command, flags *pflag.FlagSet) (err error) {
	flags.VisitAll(func(f *pflag.Flag) {
		value, set := os.LookupEnv(EnvName(c.Name, f.Name))
		if !set || f.Changed || err != nil || f.Name == "help" || f.Name == "version" {
			return
		}
		values := []string{value}
		if _, repeatable := f.Value.(Repeatable); repeatable {
			values = strings.Fields(value)
		} else if value == "" {
			// If the name of a token file got lost, for example, it must not mean none.
			err = exit.With(exit.Usage, fmt.Errorf("%s is empty", EnvName(c.Name, f.Name)), "set it, or unset it")
			return
		}
		for _, v := range values {
			if setErr := flags.Set(f.Name, v); setErr != nil {
				err = exit.With(exit.Usage, fmt.Errorf("%s: %w", EnvName(c.Name, f.Name), setErr), "see --help")
			}
		}
	})
	return err
}

// unknownVariables returns the names in environ that look like options of the command
// and are not, sorted: a misspelt variable would be ignored silently. Variables of the
// other two programs may stand in the same file.
func unknownVariables(c Command, flags *pflag.FlagSet, environ []string) (unknown []string) {
	known := map[string]bool{"TIDEMARK_ROOT": true, "TIDEMARK_STAMP": true} // --exec sets these
	for _, name := range c.Args {
		known[EnvName(c.Name, name)] = true
	}
	flags.VisitAll(func(f *pflag.Flag) { known[EnvName(c.Name, f.Name)] = true })
	for _, variable := range environ {
		name, _, _ := strings.Cut(variable, "=")
		if rest, ours := strings.CutPrefix(name, "TIDEMARK_"); ours && !known[name] && !ofAnother(c.Name, rest) {
			unknown = append(unknown, name)
		}
	}
	slices.Sort(unknown)
	return unknown
}

// ofAnother reports whether a variable, without TIDEMARK_, belongs to another program
// than command.
func ofAnother(command, rest string) bool {
	return slices.ContainsFunc([]string{"watch", "serve", "mirror"}, func(program string) bool {
		return program != command && strings.HasPrefix(rest, strings.ToUpper(program)+"_")
	})
}

// noneEmpty refuses options with an empty value: in a script, that is a variable which
// is not set.
func noneEmpty(flags *pflag.FlagSet) (err error) {
	flags.Visit(func(f *pflag.Flag) {
		if f.Value.String() == "" {
			err = exit.With(exit.Usage, fmt.Errorf("--%s is empty", f.Name), "give it a value, or leave it out")
		}
	})
	return err
}

// Repeatable marks an option that may be given several times.
type Repeatable interface{ Repeatable() }

// positional returns the arguments by their names, missing ones from the environment. more are further
// values of the first one, if there may be many: of a variable those that white space separates, if each
// is a URL or an absolute path.
func positional(c Command, args []string) (named map[string]string, more []string, err error) {
	names := c.Args
	if c.Alone != nil && c.Alone(len(args)) {
		names = names[len(names)-1:]
	}
	if last := len(args) - 1; c.Many && len(names) > 1 && last >= len(names) {
		more = args[1:last]
		args = []string{args[0], args[last]}
	}
	if len(args) > len(names) {
		return nil, nil, exit.With(exit.Usage, fmt.Errorf("unexpected argument %q", args[len(names)]), "see --help")
	}
	named = map[string]string{}
	for i, name := range names {
		value := os.Getenv(EnvName(c.Name, name))
		if i < len(args) {
			value = args[i]
		} else if c.Many && i == 0 && len(names) > 1 {
			value, more = splitMany(value)
		}
		if value == "" {
			return nil, nil, exit.With(exit.Usage, fmt.Errorf("%s is missing", name),
				"give it as an argument or in "+EnvName(c.Name, name))
		}
		named[name] = value
	}
	return named, more, nil
}

// splitMany returns the values in a variable. A path may have blanks.
func splitMany(value string) (first string, more []string) {
	fields := strings.Fields(value)
	for _, f := range fields {
		if !strings.Contains(f, "://") && !strings.HasPrefix(f, "unix:/") && !strings.HasPrefix(f, "/") { // guard: TestManyArguments
			return value, nil
		}
	}
	if len(fields) < 2 {
		return value, nil
	}
	return fields[0], fields[1:]
}

// Size is an option in bytes: 64M, 1.5GiB or plain digits; K, M, G are powers of 1024
// as in rsync.
type Size int64

// Set reads a size.
func (s *Size) Set(text string) error {
	upper := strings.ToUpper(strings.TrimSuffix(strings.TrimSuffix(text, "B"), "i"))
	if n := len(upper); n > 0 && strings.IndexByte("KMGTPE", upper[n-1]) >= 0 {
		upper += "iB"
	}
	n, err := humanize.ParseBytes(upper)
	if err != nil || n > 1<<62 {
		return fmt.Errorf("%q is not a size: want e.g. 64M", text)
	}
	*s = Size(n)
	return nil
}

// String returns the size as Set reads it.
func (s *Size) String() string {
	if *s == 0 {
		return "0"
	}
	return strings.ReplaceAll(strings.TrimSuffix(humanize.IBytes(uint64(*s)), "iB"), " ", "")
}

// Type is what --help calls the value.
func (s *Size) Type() string { return "SIZE" }

// Choice is an option whose value is one of a few words.
type Choice struct {
	Value *string
	Of    []string
}

// Set accepts one of the words.
func (c *Choice) Set(text string) error {
	if !slices.Contains(c.Of, text) {
		return fmt.Errorf("%q is none of %s", text, c.Type())
	}
	*c.Value = text
	return nil
}

// String returns the present value.
func (c *Choice) String() string {
	if c.Value == nil {
		return ""
	}
	return *c.Value
}

// Type is what --help calls the value.
func (c *Choice) Type() string { return strings.Join(c.Of, "|") }

// Strings is a repeatable option. Several options can fill one list in the order of the
// command line; Prefix, before each value, tells them apart.
type Strings struct {
	List   *[]string
	Prefix string
	Name   string // what --help calls the value
	reset  bool   // the default was dropped
	Reset  bool   // the first value given replaces the default
}

// Set adds a value.
func (s *Strings) Set(text string) error {
	if s.Reset && !s.reset {
		*s.List, s.reset = nil, true
	}
	if text == "" {
		return errors.New("it is empty")
	}
	*s.List = append(*s.List, s.Prefix+text)
	return nil
}

// String returns the present list.
func (s *Strings) String() string {
	if s.List == nil {
		return ""
	}
	return strings.Join(*s.List, " ")
}

// Type is what --help calls the value.
func (s *Strings) Type() string { return s.Name }

// Repeatable marks the option.
func (s *Strings) Repeatable() {}

// Duration is an option in time, as time.ParseDuration reads it, and in days: 500ms,
// 24h, 7d, 1d12h. It is never negative.
type Duration time.Duration

// maxDays is how many days a time.Duration holds.
const maxDays = math.MaxInt64 / (24 * time.Hour)

// Set reads a time.
func (d *Duration) Set(text string) error {
	var days time.Duration
	rest := text
	if before, after, ok := strings.Cut(text, "d"); ok {
		n, err := strconv.ParseFloat(before, 64)
		if err != nil || !(n >= 0 && n <= float64(maxDays)) { // it may be NaN
			return badDuration(text)
		}
		days, rest = time.Duration(n*24*float64(time.Hour)), after
		if rest == "" {
			rest = "0"
		}
	}
	t, err := time.ParseDuration(rest)
	if err != nil || t < 0 || days+t < days {
		return badDuration(text)
	}
	*d = Duration(days + t)
	return nil
}

func badDuration(text string) error {
	return fmt.Errorf("%q is not a time: want e.g. 500ms, 24h or 7d", text)
}

// String returns whole days, from two days on, as days.
func (d *Duration) String() string {
	const day = 24 * time.Hour
	if t := time.Duration(*d); t >= 2*day && t%day == 0 {
		return fmt.Sprintf("%dd", t/day)
	}
	text := time.Duration(*d).String()
	for _, zero := range []string{"m0s", "h0m"} {
		if strings.HasSuffix(text, zero) {
			text = text[:len(text)-2]
		}
	}
	return text
}

// Type is what --help calls the value.
func (d *Duration) Type() string { return "TIME" }

// DurationVar returns p as an option.
func DurationVar(p *time.Duration, value time.Duration) *Duration {
	*p = value
	return (*Duration)(p)
}
