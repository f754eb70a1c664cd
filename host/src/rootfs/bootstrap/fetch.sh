# Has apt fetch the lists of the archives, and say what it would install. What is wrong with an archive or a name is known
# after seconds, and no package's script has run: nothing of the tree is there yet. mmdebstrap runs it at the end of its
# set-up, and finds the lists.
#
# PIIMG_SYSTEM: patterns of what dpkg and apt need. PIIMG_PACKAGES: names of what is installed besides.
# PIIMG_PAUSES: seconds before each further try. PIIMG_OFFLINE: 1 to fetch nothing.
# PIIMG_ANSWERS: the directory that takes what apt says.

# A package may be a pattern of apt's.
set -f
export APT_CONFIG="$MMDEBSTRAP_APT_CONFIG"

# apt asks again where a connection broke, but not a server that says it is busy.
update() {
    for pause in $PIIMG_PAUSES end; do
        status=0
        said=$(apt-get --yes --quiet --error-on=any update 2>&1) || status=$?
        case $said in
        *'  429  '* | *'  50'[0-9]'  '*) [ "$pause" = end ] || sleep "$pause" ;;
        *) break ;;
        esac
    done
    printf '%s\n' "$said" >&2
    return "$status"
}

# FILE, and what apt is asked. A name that it does not know is no regular expression.
ask() {
    answer=$PIIMG_ANSWERS/$1
    shift
    # Of packages that cannot be installed together it says why on standard output.
    apt-get --yes --quiet -oAPT::Cmd::Pattern-Only=true "$@" >"$answer" || { cat "$answer" >&2; return 1; }
}

[ "$PIIMG_OFFLINE" = 1 ] || update || exit 1
apt-get indextargets --format '$(CREATED_BY) $(FILENAME) $(REPO_URI)' >"$PIIMG_ANSWERS/targets"
# Without any list mmdebstrap itself stops, and says why.
[ -s "$PIIMG_ANSWERS/targets" ] || exit 0
[ -n "$PIIMG_SYSTEM" ] || exit 0
ask uris --print-uris install $PIIMG_SYSTEM $PIIMG_PACKAGES || exit 1
ask system --simulate install $PIIMG_SYSTEM || exit 1
