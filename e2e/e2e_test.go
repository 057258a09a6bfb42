// Package e2e runs the three real binaries together, as scripts in testdata.
//
// Besides the commands of testscript a script has
//
//	start NAME PROGRAM [ARGS]   run in the background, wait until it is READY (sd_notify)
//	term NAME                   SIGTERM; it must end with 0, within 5 s unless the disk is busy
//	kill9 NAME                  SIGKILL
//	signal NAME SIGNAL          send HUP, USR1, STOP or CONT
//	same A B                    wait until the trees are equal in everything a mirror keeps
//	unlike A B                  the trees differ now
//	state DIR STATE             wait until watch --status or mirror --status of DIR reports STATE
//	log NAME REGEXP             wait until the program has logged it
//	counter NAME TARGET         an HTTP proxy that counts; its address is $NAME
//	requests NAME N             exactly N requests since the last time; "any" only restarts the count
//	far NAME HOST:PORT          a TCP proxy with 100 ms of round trip; its URL is $NAME
//	trips NAME MOST             at most MOST round trips since the last time, one after another; "any" only restarts the count
//	sh COMMAND                  sh -c, must succeed
//
// A started serve leaves its address in $URL and $URL_NAME, and its HOST:PORT in
// $ADDR. $FREE is a HOST:PORT that nobody listens on, $EXAMPLES is docs/examples.
package e2e

import (
	"bytes"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"tidemark/internal/proof"
)

func TestMain(m *testing.M) { os.Exit(proof.Main(m, "tidemark/e2e/refuse")) }

// testscript has a command of its own named stop, which takes precedence over ours. It
// ends a script at once as passed: ten scripts had never run to their end.
func TestNoScriptStops(t *testing.T) {
	scripts, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(scripts) == 0 {
		t.Fatal("no scripts: ", err)
	}
	for _, script := range scripts {
		text, err := os.ReadFile(script)
		if err != nil {
			t.Fatal(err)
		}
		commands, _, _ := bytes.Cut(text, []byte("\n-- ")) // files follow
		if regexp.MustCompile(`(?m)^(\[[^]]*\] *)?(stop|skip)\b`).Match(commands) {
			t.Errorf("%s: stop and skip end a script as passed; use term to end a program", script)
		}
	}
}

func TestScripts(t *testing.T) { testscript.Run(t, scriptsIn("testdata")) }

// scriptsIn returns the parameters by which testscript runs the scripts in dir.
func scriptsIn(dir string) testscript.Params {
	return testscript.Params{
		Dir:                 dir,
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup: func(env *testscript.Env) error {
			env.Setenv("GOTRACEBACK", "single")
			env.Setenv("TIDEMARK_MUTANT", os.Getenv("TIDEMARK_MUTANT")) // see tools/mutants
			examples, err := filepath.Abs("../docs/examples")
			if err != nil {
				return err
			}
			env.Setenv("EXAMPLES", examples)
			free := proof.FreeAddress(rand.IntN)
			env.Setenv("FREE", free)
			env.Defer(func() { proof.LeaveAddress(free) })
			env.Values[worldKey{}] = newWorld(env)
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"start":    cmdStart,
			"term":     cmdTerm,
			"kill9":    cmdKill9,
			"signal":   cmdSignal,
			"same":     cmdSame,
			"unlike":   cmdUnlike,
			"state":    cmdState,
			"log":      cmdLog,
			"counter":  cmdCounter,
			"requests": cmdRequests,
			"far":      cmdFar,
			"trips":    cmdTrips,
			"sh":       cmdSh,
		},
	}
}
