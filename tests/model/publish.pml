/* How a saved version reaches the exchange, whatever dies (contract section 5; docs/decisions/0003).
 *
 * One session, N_COMMANDS commands, two engines, Redis and the broker. An engine takes a command, loads, saves by
 * compare-and-set, publishes, waits for the confirm, acknowledges, and moves the published mark some time later.
 * Between any two steps it may die (and start anew), lose the broker (its commands are delivered again, also while it
 * goes on with them), or have a save of which it does not learn the outcome; the broker may restart and lose the
 * commands, which are transient. How often is bounded, since Redis and the broker are to come to rest. Time is left
 * out: what is due later may happen at any moment, and a command's entry is old enough to go once nobody may deliver
 * it again.
 *
 * Each guard is a line that -DNO_<guard> takes away; tests/model/check shows that each is needed. */

#ifndef N_COMMANDS
#define N_COMMANDS 2
#endif
#ifndef MAX_FAULTS
#define MAX_FAULTS 2
#endif
#define KEEP 1 /* entries that the window keeps at least */
#define BIT(version) (1 << (version))
#define NOBODY 2

/* A command, at the broker. */
mtype = { queued, held, acknowledged, gone };
/* What an engine is at. */
mtype = { idle, taken, loaded, saved, waiting, looking };

/* The broker */
mtype command[N_COMMANDS + 1];    /* from 1 on */
byte holder[N_COMMANDS + 1];      /* who has it, NOBODY */
bool again[N_COMMANDS + 1];       /* delivered before */
byte on_exchange;                 /* versions that the broker has, and had confirmed or will */

/* Redis */
byte version;
byte mark;                        /* the published mark */
byte first = 1;                   /* first version of the window */
byte command_of[N_COMMANDS + 3];  /* version -> the command that made it */
byte saver = NOBODY;              /* who made the last version, and the one from which on nobody else did */
byte saver_since;
byte remembered;                  /* confirmed versions above the mark, mark.lua's runs */
mtype = { none, due, leased };
mtype entry = none;               /* in the attention set */
byte lease_of = NOBODY;

/* What is only there to be judged */
byte effects[N_COMMANDS + 1];

/* How often something still goes wrong */
byte faults;

typedef engine {
    mtype at;
    byte c;          /* the command in hand */
    bool looks;      /* for its id in the window */
    byte from;       /* the version that there was when it was taken */
    byte base, made; /* the version that was loaded; the version that it has made */
    byte sent;       /* versions published, without a confirm */
    byte confirmed;  /* versions confirmed, the mark not moved yet */
    bool is_told;    /* by a look: all is published */
    bool unarmed     /* only with NO_ARM_FIRST: the entry is still to be made */
};
engine e[2];

/* ---- guards that are conditions ---- */

#ifdef NO_COMPARE
#define IS_UNCHANGED(n) true
#else
#define IS_UNCHANGED(n) (e[n].base == version)
#endif
#ifdef NO_LET_GO_AT_MARK
#define IS_MARKED true
#else
#define IS_MARKED (mark == version)
#endif
#ifdef NO_TRIM_BEHIND_MARK
#define IS_BEHIND_MARK true
#else
#define IS_BEHIND_MARK (first <= mark)
#endif
#ifdef NO_TRIM_OLD_ENOUGH
#define IS_OLD_ENOUGH true
#else
#define IS_OVER(c) (command[c] == acknowledged || command[c] == gone)
#define IS_OLD_ENOUGH (IS_OVER(command_of[first]) && e[0].c != command_of[first] && e[1].c != command_of[first])
#endif

/* Somebody else has made a version since the command was taken, perhaps of it: the broker may have given it to another,
 * and this engine does not know. */
#ifdef NO_LOOK_AT_OTHERS
#define MAY_HIDE(n) false
#else
#define OTHERS_UNTIL(n) (saver == n -> saver_since : version)
#define MAY_HIDE(n) (OTHERS_UNTIL(n) > e[n].from)
#endif

/* ---- Redis ---- */

/* The version of the window that the command made, else 0. */
inline find(id, ret) {
    ret = 0;
    i = first;
    do
    :: i <= version ->
        if
        :: command_of[i] == id -> ret = i
        :: else
        fi;
        i++
    :: else -> break
    od;
    i = 0
}

inline arm() {
    entry = due;
    lease_of = NOBODY
}

/* Oldest entries go, behind the mark, and only when no command of theirs can come again. */
inline trim() {
    do
    :: version + 1 - first > KEEP && IS_BEHIND_MARK && IS_OLD_ENOUGH -> first++
    :: else -> break
    od;
    assert(first <= mark + 1) /* what is not published can be read */
}

/* save.lua, with the arming that goes before it in the same pipeline. */
inline save(n) {
    assert(command_of[e[n].base + 1] == 0); /* no two contents of a version */
#if defined(NO_ARM)
    skip;
#elif defined(NO_ARM_FIRST)
    e[n].unarmed = true;
#else
    arm();
#endif
    version = e[n].base + 1;
    command_of[version] = e[n].c;
    if
    :: saver != n -> saver = n; saver_since = version
    :: else
    fi;
    effects[e[n].c]++;
    assert(effects[e[n].c] == 1); /* no command takes effect twice */
    trim()
}

/* mark.lua: over runs that begin right above the mark; others are remembered. */
inline move_mark(n) {
#ifndef NO_RUNS
    remembered = remembered | e[n].confirmed;
    do
    :: remembered & BIT(mark + 1) -> mark++; remembered = remembered & ~BIT(mark)
    :: else -> break
    od;
    remembered = remembered & ~(BIT(mark + 1) - 1);
#else
    i = 1;
    do
    :: i <= version ->
        if
        :: (e[n].confirmed & BIT(i)) && i > mark -> mark = i
        :: else
        fi;
        i++
    :: else -> break
    od;
    i = 0;
#endif
    e[n].confirmed = 0;
    i = 1;
    do
    :: i <= mark -> assert(on_exchange & BIT(i)); i++ /* the mark passes nothing unconfirmed */
    :: else -> break
    od;
    i = 0
}

/* ---- an engine ---- */

inline put_down(n) {
    e[n].at = idle;
    e[n].c = 0;
    e[n].looks = false;
    e[n].from = 0;
    e[n].base = 0;
    e[n].made = 0
}

/* No acknowledged command whose event the broker has not. One of a lost connection is not heard. */
inline acknowledge(n) {
    if
    :: holder[e[n].c] == n ->
        command[e[n].c] = acknowledged;
        holder[e[n].c] = NOBODY;
        assert(effects[e[n].c] == 1 && (on_exchange & BIT(e[n].made)))
    :: else
    fi
}

/* What it holds goes back into the queue, marked as delivered before. */
inline give_back(n) {
    i = 1;
    do
    :: i <= N_COMMANDS ->
        if
        :: command[i] == held && holder[i] == n -> command[i] = queued; holder[i] = NOBODY; again[i] = true
        :: else
        fi;
        i++
    :: else -> break
    od;
    i = 0
}

/* Commands that are not begun go with the connection: they come again, to whoever looks for their ids. */
inline drop_waiting(n) {
    if
    :: e[n].at == taken -> put_down(n)
    :: else
    fi
}

/* Dies, and is started again. A lease runs out. */
inline die(n) {
    give_back(n);
    put_down(n);
    e[n].sent = 0;
    e[n].confirmed = 0;
    e[n].is_told = false;
    e[n].unarmed = false;
    if
    :: entry == leased && lease_of == n ->
#ifndef NO_LEASE
        arm()
#else
        entry = none; lease_of = NOBODY
#endif
    :: else
    fi
}

inline publish(n, at_version) {
#ifdef NO_WAIT_TO_MARK
    e[n].confirmed = e[n].confirmed | BIT(at_version);
#endif
    e[n].sent = e[n].sent | BIT(at_version)
}

/* The broker has it, and its confirm arrives. */
inline confirm(n, at_version) {
    on_exchange = on_exchange | BIT(at_version);
    e[n].sent = e[n].sent & ~BIT(at_version);
    e[n].confirmed = e[n].confirmed | BIT(at_version);
    if
    :: e[n].at == waiting && e[n].made == at_version -> acknowledge(n); put_down(n)
    :: else
    fi
}

proctype Engine(byte n) {
    byte i, k;
    do
    /* takes a command */
    :: d_step { e[n].at == idle && command[1] == queued -> k = 1; e[n].c = k; e[n].at = taken; k = 0;
        command[e[n].c] = held; holder[e[n].c] = n; e[n].looks = again[e[n].c]; e[n].from = version }
    :: d_step { e[n].at == idle && command[2] == queued -> k = 2; e[n].c = k; e[n].at = taken; k = 0;
        command[e[n].c] = held; holder[e[n].c] = n; e[n].looks = again[e[n].c]; e[n].from = version }
#if N_COMMANDS > 2
    :: d_step { e[n].at == idle && command[3] == queued -> k = 3; e[n].c = k; e[n].at = taken; k = 0;
        command[e[n].c] = held; holder[e[n].c] = n; e[n].looks = again[e[n].c]; e[n].from = version }
#endif
    /* loads, and looks for what was delivered before, or may be saved */
    :: d_step { e[n].at == taken ->
#ifdef NO_SAVE_FIRST
        acknowledge(n);
#endif
#ifdef NO_LOOK
        e[n].looks = false;
#endif
        if
        :: e[n].looks || MAY_HIDE(n) -> find(e[n].c, k)
        :: else
        fi;
        if
        :: k != 0 -> e[n].made = k; e[n].at = saved
        :: else -> e[n].base = version; e[n].at = loaded
        fi;
        k = 0 }
    /* saves: or loses the race; what it lost it to was made by somebody else, so that it looks */
    :: d_step { e[n].at == loaded && IS_UNCHANGED(n) -> save(n); e[n].made = version; e[n].at = saved }
    :: d_step { e[n].at == loaded && e[n].base != version -> e[n].at = taken }
    /* saves, and does not learn it */
    :: d_step { e[n].at == loaded && e[n].base == version && faults > 0 -> faults--; save(n);
#ifndef NO_LOOK_AFTER_DOUBT
        e[n].looks = true;
#endif
        e[n].at = taken }
#ifdef NO_ARM_FIRST
    :: d_step { e[n].unarmed -> arm(); e[n].unarmed = false }
#endif
    /* publishes, unless the mark says that it was */
    :: d_step { e[n].at == saved && e[n].made > mark -> publish(n, e[n].made); e[n].at = waiting;
#ifdef NO_CONFIRM
        acknowledge(n); put_down(n)
#endif
        }
    :: d_step { e[n].at == saved && e[n].made <= mark -> acknowledge(n); put_down(n) }
    /* the broker confirms, in any order */
    :: d_step { e[n].sent & BIT(1) -> confirm(n, 1) }
    :: d_step { e[n].sent & BIT(2) -> confirm(n, 2) }
#if N_COMMANDS > 2
    :: d_step { e[n].sent & BIT(3) -> confirm(n, 3) }
#endif
    :: d_step { e[n].confirmed != 0 -> move_mark(n) }
    /* attention: claims, looks, publishes what is above the mark, arms again or lets go */
#ifndef NO_ATTENTION
    :: d_step { e[n].at == idle && entry == due -> entry = leased; lease_of = n; e[n].at = looking }
#endif
    :: d_step { e[n].at == looking && !e[n].is_told && mark < version && !(e[n].sent & BIT(mark + 1)) ->
        k = mark + 1;
        do
        :: k <= version -> publish(n, k); k++
        :: else -> break
        od;
        k = 0; e[n].at = idle;
        if
        :: lease_of == n -> arm()
        :: else
        fi }
    :: d_step { e[n].at == looking && !e[n].is_told && mark < version && (e[n].sent & BIT(mark + 1)) ->
        e[n].at = idle;
        if
        :: lease_of == n -> arm()
        :: else
        fi }
    :: d_step { e[n].at == looking && !e[n].is_told && IS_MARKED -> e[n].is_told = true }
    :: d_step { e[n].at == looking && e[n].is_told ->
        e[n].is_told = false; e[n].at = idle;
        if
#ifndef NO_COMPARE_LEASE
        :: lease_of == n -> entry = none; lease_of = NOBODY
#else
        :: true -> entry = none; lease_of = NOBODY
#endif
        :: else /* armed by a save meanwhile */
        fi }
    /* dies; loses the broker, and goes on with what it has begun; and with all, since it does not know yet */
    :: d_step { faults > 0 -> faults--; die(n) }
    :: d_step { faults > 0 && e[n].c != 0 && holder[e[n].c] == n -> faults--; give_back(n); drop_waiting(n) }
    :: d_step { faults > 0 && e[n].c != 0 && holder[e[n].c] == n -> faults--; give_back(n) }
    od
}

/* The broker forgets the commands; what it confirmed it keeps. Engines send again what was not confirmed. */
proctype Restarts() {
    byte i;
    do
    :: d_step { faults > 0 -> faults--;
        i = 1;
        do
        :: i <= N_COMMANDS ->
            if
            :: command[i] != acknowledged -> command[i] = gone; holder[i] = NOBODY
            :: else
            fi;
            i++
        :: else -> break
        od;
        i = 0 }
    od
}

/* When nothing moves any more, everything saved was published, and is known to be. */
proctype Rest() {
    byte i;
    timeout -> d_step {
        i = 1;
        do
        :: i <= version -> assert(on_exchange & BIT(i)); i++
        :: else -> break
        od;
        i = 1;
        do
        :: i <= N_COMMANDS -> assert(command[i] == acknowledged || command[i] == gone); i++
        :: else -> break
        od;
        assert(mark == version);
        assert(entry == none)
    }
}

init {
    byte i;
    d_step {
        i = 1;
        do
        :: i <= N_COMMANDS -> command[i] = queued; holder[i] = NOBODY; i++
        :: else -> break
        od;
        e[0].at = idle;
        e[1].at = idle;
        i = 0
    };
    select(faults : 0 .. MAX_FAULTS);
    atomic {
        run Engine(0);
        run Engine(1);
        run Restarts();
        run Rest()
    }
}
