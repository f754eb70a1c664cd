# Other machines see the nodes of the robot only while it is being looked into: as long as there is the file
# /etc/breadcrumb/debug. A master on another machine stays what it is.
if [ ! -e /etc/breadcrumb/debug ] && [ "$ROS_MASTER_URI" = "http://$(hostname):11311" ]; then
    export ROS_HOSTNAME=localhost ROS_MASTER_URI=http://localhost:11311
fi
