# Has apt fetch lists and all packages before anything is installed: what is wrong with an archive or a name is known
# after seconds, and no package's script has run. mmdebstrap runs it at the end of its set-up, and finds it done.
#
# PIIMG_PACKAGES: what is installed. PIIMG_PAUSES: seconds before each further try. PIIMG_OFFLINE: 1 to fetch nothing.

# A package may be a pattern of apt's.
set -f
export APT_CONFIG="$MMDEBSTRAP_APT_CONFIG"

# apt asks again where a connection broke, but not a server that says it is busy.
fetch() {
    for pause in $PIIMG_PAUSES end; do
        status=0
        # Of packages that cannot be installed together it says why on standard output.
        said=$(apt-get --yes --quiet "$@" 2>&1) || status=$?
        case $said in
        *'  429  '* | *'  50'[0-9]'  '*) [ "$pause" = end ] || sleep "$pause" ;;
        *) break ;;
        esac
    done
    printf '%s\n' "$said" >&2
    return "$status"
}

if [ "$PIIMG_OFFLINE" = 1 ]; then
    # The only way to learn names is to ask for what apt would fetch: 'URI' FILE SIZE DIGEST.
    uris=$(apt-get --yes --print-uris install $PIIMG_PACKAGES) || exit 1
    lacking=$(printf '%s\n' "$uris" | sed -n "s/^'[^']*' \([^ ]*\) .*/\1/p")
    [ -z "$lacking" ] || { echo "E: not in the store:" $lacking >&2; exit 1; }
    exit 0
fi

fetch --error-on=any update || exit 1
# Without any list mmdebstrap itself stops, and says why.
[ -z "$(apt-get indextargets)" ] || fetch --download-only install $PIIMG_PACKAGES
