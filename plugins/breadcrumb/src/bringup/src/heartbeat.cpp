// Says once a second that the robot is up: how many seconds it has been.

#include <ros/ros.h>
#include <std_msgs/UInt32.h>

int main(int argc, char **argv)
{
    ros::init(argc, argv, "heartbeat");
    ros::NodeHandle node;
    // Latched: whoever comes later hears the last one at once.
    ros::Publisher heartbeat = node.advertise<std_msgs::UInt32>("heartbeat", 1, true);
    std_msgs::UInt32 seconds;
    for (ros::WallRate rate(1); ros::ok(); rate.sleep()) {
        heartbeat.publish(seconds);
        ++seconds.data;
        ros::spinOnce();
    }
}
