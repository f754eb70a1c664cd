import flask

flask.Flask(__name__, static_folder="pages").run(host="0.0.0.0", port=8080)
